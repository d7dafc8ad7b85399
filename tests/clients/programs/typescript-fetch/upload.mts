// The client of typescript-fetch at work; docs/clients/typescript.md shows it. Arguments: URL and API key.

import { readFile, writeFile } from "node:fs/promises";
import { Configuration, ImagesApi, type Problem, ProblemFromJSON, ResponseError } from "./imagegate-client/index.js";

const [basePath, accessToken] = process.argv.slice(2);
const images = new ImagesApi(new Configuration({ basePath, accessToken }));

const file = new File([await readFile("img.jpg")], "img.jpg");
const uploaded = await images.uploadImage({ file, profile: "lossless" });

const described = await images.describeImage({ imageId: uploaded.id });

const downloaded = await images.downloadImage({ imageId: uploaded.id });
await writeFile("out.jpg", Buffer.from(await downloaded.arrayBuffer()));

const first = await images.listImages({ limit: 1 });
const second = await images.listImages({ limit: 1, cursor: first.nextCursor! });

async function problemOf(call: Promise<unknown>): Promise<Problem> {
  const error: unknown = await call.then(() => new Error("it succeeded"), (error) => error);
  if (error instanceof ResponseError) return ProblemFromJSON(await error.response.json());
  throw error;
}

const notes = new File([await readFile("notes.txt")], "notes.txt");
const refused = await problemOf(images.uploadImage({ file: notes }));

await images.deleteImage({ imageId: uploaded.id });
const gone = await problemOf(images.describeImage({ imageId: uploaded.id }));

// For the tests.
import { ImageToJSON } from "./imagegate-client/index.js";
console.log(JSON.stringify({
  image: ImageToJSON(described),
  pages: [...first.images, ...second.images].map((image) => image.id),
  refused: [refused.status, refused.code],
  gone: [gone.status, gone.code],
}));
