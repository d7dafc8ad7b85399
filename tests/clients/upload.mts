// The generated TypeScript client at work; docs/clients.md shows it. Arguments: URL and API key.

import { readFile, writeFile } from "node:fs/promises";
import { Configuration, ImagesApi, ProblemFromJSON, ResponseError } from "./imagegate-client/index.js";

const [basePath, accessToken] = process.argv.slice(2);
const images = new ImagesApi(new Configuration({ basePath, accessToken }));

const file = new File([await readFile("img.jpg")], "img.jpg");
const uploaded = await images.uploadImage({ file });

const downloaded = await images.downloadImage({ imageId: uploaded.id });
await writeFile("out.jpg", Buffer.from(await downloaded.arrayBuffer()));

const page = await images.listImages({ limit: 10 });

const broken = new File([await readFile("broken.jpg")], "broken.jpg");
const problem = await images.uploadImage({ file: broken }).catch(async (error: unknown) => {
  if (error instanceof ResponseError) return ProblemFromJSON(await error.response.json());
  throw error;
});

const batch = await images.uploadBatch({ file: [file, broken] });
const stored = batch.results.flatMap((each) => ("image" in each ? [each.image] : []));

// For the tests.
import { BatchResultsToJSON, ImageToJSON } from "./imagegate-client/index.js";
const listed = page.images.map((image) => image.id);
const { results } = BatchResultsToJSON(batch);
const ids = stored.map((image) => image.id);
const called = { uploaded: ImageToJSON(uploaded), listed, problem, batch: results, stored: ids };
console.log(JSON.stringify(called));
