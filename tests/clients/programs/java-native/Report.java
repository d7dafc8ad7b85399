import imagegate.*;
import imagegate.model.*;
import java.util.*;

/** Prints what the tests look at. */
class Report {
    static void print(Image image, ImagePage first, ImagePage second, Problem refused, Problem gone) throws Exception {
        var listed = new ArrayList<String>();
        for (var page : List.of(first, second)) for (var each : page.getImages()) listed.add(each.getId());
        var report = Map.of(
            "image", image,
            "pages", listed,
            "refused", List.of(refused.getStatus(), refused.getCode()),
            "gone", List.of(gone.getStatus(), gone.getCode()));
        System.out.println(ApiClient.createDefaultObjectMapper().writeValueAsString(report));
    }
}
