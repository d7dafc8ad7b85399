// The client of typescript-axios at work; docs/clients/typescript.md shows it. Arguments: URL and API key.

import { readFile, writeFile } from "node:fs/promises";
import { isAxiosError } from "axios";
import { Configuration, ImagesApi, type Problem } from "./imagegate-client/index.js";

const [basePath, accessToken] = process.argv.slice(2);
const images = new ImagesApi(new Configuration({ basePath, accessToken }));

const file = new File([await readFile("img.jpg")], "img.jpg");
const { data: uploaded } = await images.uploadImage({ file, profile: "lossless" });

const { data: described } = await images.describeImage({ imageId: uploaded.id });

// Without `responseType` axios reads the bytes as text, and they are lost.
const downloaded = await images.downloadImage({ imageId: uploaded.id }, { responseType: "arraybuffer" });
await writeFile("out.jpg", Buffer.from(downloaded.data as unknown as ArrayBuffer));

const { data: first } = await images.listImages({ limit: 1 });
const { data: second } = await images.listImages({ limit: 1, cursor: first.next_cursor! });

async function problemOf(call: Promise<unknown>): Promise<Problem> {
  const error: unknown = await call.then(() => new Error("it succeeded"), (error) => error);
  if (isAxiosError<Problem>(error) && error.response) return error.response.data;
  throw error;
}

const notes = new File([await readFile("notes.txt")], "notes.txt");
const refused = await problemOf(images.uploadImage({ file: notes }));

await images.deleteImage({ imageId: uploaded.id });
const gone = await problemOf(images.describeImage({ imageId: uploaded.id }));

// For the tests.
console.log(JSON.stringify({
  image: described,
  pages: [...first.images, ...second.images].map((image) => image.id),
  refused: [refused.status, refused.code],
  gone: [gone.status, gone.code],
}));
