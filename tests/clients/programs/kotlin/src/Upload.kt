// The Kotlin client of openapi-generator at work; docs/clients/kotlin.md shows it. Arguments: URL
// and API key.

import imagegate.apis.ImagesApi
import imagegate.infrastructure.ApiClient
import imagegate.infrastructure.ClientError
import imagegate.infrastructure.ClientException
import imagegate.infrastructure.Serializer
import imagegate.models.Problem
import java.io.File

fun main(arguments: Array<String>) {
    ApiClient.accessToken = arguments[1]
    val images = ImagesApi(basePath = arguments[0])

    val uploaded = images.uploadImage(File("img.jpg"), profile = ImagesApi.ProfileUploadImage.LOSSLESS)

    val described = images.describeImage(uploaded.id)

    images.downloadImage(uploaded.id).copyTo(File("out.jpg"), overwrite = true)

    val first = images.listImages(limit = 1)
    val second = images.listImages(limit = 1, cursor = first.nextCursor)

    val refused = problemOf { images.uploadImage(File("notes.txt")) }

    images.deleteImage(uploaded.id)
    val gone = problemOf { images.describeImage(uploaded.id) }

    report(described, first.images + second.images, refused, gone)
}

fun problemOf(call: () -> Any): Problem {
    try {
        call()
    } catch (error: ClientException) {
        val body = (error.response as ClientError<*>).body as String
        return Serializer.moshi.adapter(Problem::class.java).fromJson(body)!!
    }
    error("it succeeded")
}
