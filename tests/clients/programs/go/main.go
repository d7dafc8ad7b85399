// The Go client of openapi-generator at work; docs/clients/go.md shows it. Arguments: URL and API key.
package main

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"os"

	"example/imagegate"
)

func main() {
	configuration := imagegate.NewConfiguration()
	configuration.Servers = imagegate.ServerConfigurations{{URL: os.Args[1]}}
	images := imagegate.NewAPIClient(configuration).ImagesAPI
	ctx := context.WithValue(context.Background(), imagegate.ContextAccessToken, os.Args[2])

	picture := must(os.Open("img.jpg"))
	uploaded := done(images.UploadImage(ctx).File(picture).Profile("lossless").Execute())

	described := done(images.DescribeImage(ctx, uploaded.Id).Execute())

	downloaded := done(images.DownloadImage(ctx, uploaded.Id).Execute()) // a temporary file
	defer os.Remove(downloaded.Name())
	check(os.WriteFile("out.jpg", must(io.ReadAll(downloaded)), 0o644))

	first := done(images.ListImages(ctx).Limit(1).Execute())
	second := done(images.ListImages(ctx).Limit(1).Cursor(first.GetNextCursor()).Execute())

	_, _, err := images.UploadImage(ctx).File(must(os.Open("notes.txt"))).Execute()
	refused := problemOf(err)

	_, err = images.DeleteImage(ctx, uploaded.Id).Execute()
	check(err)
	_, _, err = images.DescribeImage(ctx, uploaded.Id).Execute()
	gone := problemOf(err)

	report(described, append(first.Images, second.Images...), refused, gone)
}

func problemOf(err error) imagegate.Problem {
	var failed *imagegate.GenericOpenAPIError
	if !errors.As(err, &failed) {
		log.Fatal("not refused: ", err)
	}
	return failed.Model().(imagegate.Problem)
}

func done[T any](value T, _ *http.Response, err error) T {
	return must(value, err)
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
