// The front page by a referral link: where a browser has fetched it ahead of somebody, which
// counts nothing, it is asked for once more as it is shown, and whose link it is gets the click.

const [visit] = performance.getEntriesByType("navigation");
const again = () => fetch(location.href, { keepalive: true }).catch(() => {});

if (document.prerendering) document.addEventListener("prerenderingchange", again, { once: true });
else if (visit?.activationStart > 0 || visit?.deliveryType === "navigational-prefetch") again();
