import imagegate.infrastructure.Serializer
import imagegate.models.Image
import imagegate.models.Problem

/** Prints what the tests look at. */
fun report(image: Image, listed: List<Image>, refused: Problem, gone: Problem) {
    val json = Serializer.moshi.adapter(Image::class.java).toJson(image)
    val pages = listed.joinToString { "\"${it.id}\"" }
    println(
        """{"image": $json, "pages": [$pages], "refused": [${refused.status}, "${refused.code}"], """ +
            """"gone": [${gone.status}, "${gone.code}"]}"""
    )
}
