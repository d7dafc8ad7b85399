package main

import (
	"encoding/json"
	"fmt"

	"example/imagegate"
)

// report prints what the tests look at.
func report(image *imagegate.Image, listed []imagegate.Image, refused, gone imagegate.Problem) {
	pages := []string{}
	for _, each := range listed {
		pages = append(pages, each.Id)
	}
	fmt.Println(string(must(json.Marshal(map[string]any{
		"image":   image,
		"pages":   pages,
		"refused": []any{refused.Status, refused.Code},
		"gone":    []any{gone.Status, gone.Code},
	}))))
}
