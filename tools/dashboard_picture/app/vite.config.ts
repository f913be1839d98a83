import { defineConfig } from "vite";

export default defineConfig({
  logLevel: "error",
  define: { "process.env": {} }, // some of Grafana's dependencies look there
});
