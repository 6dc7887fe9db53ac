// Tells the service, once, that this preview was really shown to somebody.

function send() {
  if (document.visibilityState !== "visible" || document.prerendering) return;
  document.removeEventListener("visibilitychange", send);
  document.removeEventListener("prerenderingchange", send);
  navigator.sendBeacon(document.body.dataset.seen);
}

document.addEventListener("visibilitychange", send);
document.addEventListener("prerenderingchange", send);
send();
