"use strict";

const form = document.getElementById("ask");
const talk = document.getElementById("talk");

function say(kind, text) {
  const line = document.createElement("p");
  line.className = kind;
  line.textContent = text;
  talk.append(line);
  line.scrollIntoView({ block: "end" });
  return line;
}

// Show a streamed answer while the server sends it.
async function showStream(response, line) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    line.textContent += value;
    line.scrollIntoView({ block: "end" });
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  const body = new FormData(form);
  say("question", body.get("question"));
  const line = say("answer waiting", "");
  button.disabled = true;
  try {
    const response = await fetch(form.elements.way.value, { method: "POST", body });
    const kind = response.headers.get("Content-Type") || "";
    if (kind.startsWith("application/json")) {
      const { answer, error } = await response.json();
      line.textContent = answer || error;
    } else if (response.ok) {
      await showStream(response, line);
    } else {
      line.textContent = `The site returned ${response.status}. The call to the model is recorded anyway.`;
    }
    line.classList.toggle("trouble", !response.ok);
    form.elements.question.value = "";
    form.elements.question.focus();
  } catch (error) {
    line.classList.add("trouble");
    line.textContent += ` (${error.message})`;
  } finally {
    line.classList.remove("waiting");
    button.disabled = false;
  }
});
