// The interactive description of the API: Swagger UI on this gateway's own openapi.json.

/* global SwaggerUIBundle */

// A stream has no end, and Swagger UI shows an answer once it has ended.
const withoutStreams = {
  statePlugins: {
    spec: {
      wrapSelectors: {
        allowTryItOutFor: () => (_state, path) => !path.startsWith("/streams/"),
      },
    },
  },
};

SwaggerUIBundle({
  dom_id: "#docs",
  url: "openapi.json",
  plugins: [withoutStreams],
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
});
