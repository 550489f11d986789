// Makes earthquakes.ndjson from the file data/earthquakes.json of the npm package vega-datasets:
//   node bench/payload/make.mjs node_modules/vega-datasets/data/earthquakes.json > bench/payload/earthquakes.ndjson
// One event per line, in the order of the source; the GeoJSON wrapping is undone, nothing else is changed.
import { readFileSync } from 'node:fs';

const [source] = process.argv.slice(2);
if (source === undefined) {
  console.error('usage: node bench/payload/make.mjs <earthquakes.json>');
  process.exit(2);
}
const { features } = JSON.parse(readFileSync(source, 'utf8'));
for (const { id, properties, geometry } of features) {
  const [longitude, latitude, depth] = geometry.coordinates;
  process.stdout.write(`${JSON.stringify({ id, longitude, latitude, depth, ...properties })}\n`);
}
