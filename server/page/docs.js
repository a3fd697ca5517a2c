// The API's description as a page to try it from. Everything comes from this server; nothing is sent elsewhere.

window.SwaggerUIBundle({ url: "/openapi.json", dom_id: "#api", deepLinking: true, validatorUrl: null });
