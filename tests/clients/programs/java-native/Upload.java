// The Java client of openapi-generator (library native) at work; docs/clients/java.md shows it.
// Arguments: URL and API key.

import imagegate.*;
import imagegate.ImagesApi.*;
import imagegate.model.*;
import java.io.File;
import java.nio.file.*;

class Upload {
    interface Call {
        void run() throws ApiException;
    }

    public static void main(String[] arguments) throws Exception {
        var client = new ApiClient();
        client.updateBaseUri(arguments[0]);
        client.setRequestInterceptor(request -> request.header("Authorization", "Bearer " + arguments[1]));
        var images = new ImagesApi(client);

        var picture = new File("img.jpg");
        var uploaded = images.uploadImage(
            APIUploadImageRequest.newBuilder()._file(picture).profile("lossless").build());

        var described = images.describeImage(
            APIDescribeImageRequest.newBuilder().imageId(uploaded.getId()).build());

        File downloaded = images.downloadImage(
            APIDownloadImageRequest.newBuilder().imageId(uploaded.getId()).build());
        Files.move(downloaded.toPath(), Path.of("out.jpg"), StandardCopyOption.REPLACE_EXISTING);

        var first = images.listImages(APIListImagesRequest.newBuilder().limit(1).build());
        var second = images.listImages(
            APIListImagesRequest.newBuilder().limit(1).cursor(first.getNextCursor()).build());

        var notes = new File("notes.txt");
        var refused = problemOf(() -> images.uploadImage(
            APIUploadImageRequest.newBuilder()._file(notes).build()));

        images.deleteImage(APIDeleteImageRequest.newBuilder().imageId(uploaded.getId()).build());
        var gone = problemOf(() -> images.describeImage(
            APIDescribeImageRequest.newBuilder().imageId(uploaded.getId()).build()));

        Report.print(described, first, second, refused, gone);
    }

    static Problem problemOf(Call call) throws Exception {
        try {
            call.run();
        } catch (ApiException error) {
            return ApiClient.createDefaultObjectMapper().readValue(error.getResponseBody(), Problem.class);
        }
        throw new IllegalStateException("it succeeded");
    }
}
