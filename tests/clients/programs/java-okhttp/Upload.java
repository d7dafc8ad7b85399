// The Java client of openapi-generator (library okhttp-gson) at work; docs/clients/java.md shows it.
// Arguments: URL and API key.

import imagegate.*;
import imagegate.model.*;
import java.io.File;
import java.nio.file.*;

class Upload {
    interface Call {
        void run() throws ApiException;
    }

    public static void main(String[] arguments) throws Exception {
        var client = new ApiClient();
        client.setBasePath(arguments[0]);
        client.setBearerToken(arguments[1]);
        var images = new ImagesApi(client);

        var picture = new File("img.jpg");
        var uploaded = images.uploadImage(picture).profile("lossless").execute();

        var described = images.describeImage(uploaded.getId()).execute();

        File downloaded = images.downloadImage(uploaded.getId()).execute();
        Files.move(downloaded.toPath(), Path.of("out.jpg"), StandardCopyOption.REPLACE_EXISTING);

        var first = images.listImages().limit(1).execute();
        var second = images.listImages().limit(1).cursor(first.getNextCursor()).execute();

        var notes = new File("notes.txt");
        var refused = problemOf(() -> images.uploadImage(notes).execute());

        images.deleteImage(uploaded.getId()).execute();
        var gone = problemOf(() -> images.describeImage(uploaded.getId()).execute());

        Report.print(described, first, second, refused, gone);
    }

    static Problem problemOf(Call call) throws Exception {
        try {
            call.run();
        } catch (ApiException error) {
            return JSON.deserialize(error.getResponseBody(), Problem.class);
        }
        throw new IllegalStateException("it succeeded");
    }
}
