export default {
  imagegate: {
    input: "openapi.json",
    output: {
      target: "imagegate-client.ts",
      client: "fetch",
      override: {
        // Of several types of a body orval would send the object as it is: "[object Object]".
        contentType: { exclude: ["application/octet-stream", "image/*"] },
        mutator: { path: "fetcher.ts", name: "fetcher" },
      },
    },
  },
};
