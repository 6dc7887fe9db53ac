// What each consumer makes of the share URLs that are its arguments, as JSON: a list of
// {consumer: {title, description, image}} per URL, or {error}.

import { extract } from "@extractus/oembed-extractor";
import scrape from "open-graph-scraper";
import { unfurl } from "unfurl.js";
import urlMetadata from "url-metadata";

const told = (title, description, image) => ({ title, description, image: image ?? null });

/** OpenGraph, then oEmbed, whose address they find on the page. */
const consumers = {
  "open-graph-scraper": async (url) => {
    const { result } = await scrape({ url, urlValidatorSettings: { require_tld: false } });
    return told(result.ogTitle, result.ogDescription, result.ogImage[0].url);
  },
  "url-metadata": async (url) => {
    const here = { allowPrivateIPAddress: true };
    const more = { ensureSecureImageRequest: false, requestFilteringAgentOptions: here };
    const page = await urlMetadata(url, { descriptionLength: 1000, ...more });
    return told(page["og:title"], page["og:description"], page["og:image"]);
  },
  "unfurl.js": async (url) => {
    const { open_graph: page } = await unfurl(url, { oembed: false });
    return told(page.title, page.description, page.images[0].url);
  },
  "unfurl.js, oEmbed": async (url) => {
    const { oEmbed: page } = await unfurl(url);
    return told(page.title, null, page.thumbnails?.[0]?.url);
  },
  "oembed-extractor": async (url) => {
    const page = await extract(url);
    return told(page.title, page.description, page.thumbnail_url);
  },
};

const answers = [];
for (const url of process.argv.slice(2)) {
  const answer = {};
  for (const [name, read] of Object.entries(consumers)) {
    try {
      answer[name] = await read(url);
    } catch (error) {
      answer[name] = { error: String(error?.message ?? JSON.stringify(error)) };
    }
  }
  answers.push(answer);
}
console.log(JSON.stringify(answers));
