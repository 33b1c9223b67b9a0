// The page: shows what the API answers, and loads itself again after each build.
declare const API: string;

const heading = "Hello!";

async function main(): Promise<void> {
  document.querySelector("h1")!.textContent = heading;
  const response = await fetch(`${API}/visits`, { method: "POST" });
  document.querySelector("p")!.textContent = await response.json();
}

new EventSource("/esbuild").addEventListener("change", () => location.reload());
main();
