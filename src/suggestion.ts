/** "Did you mean …?" for a word that is nearly one of a list. */
export function didYouMean(word: string, known: readonly string[]): string {
  let best: string | undefined;
  // Half of the letters wrong is another word.
  let bestDistance = Math.floor(word.length / 2) + 1;
  for (const candidate of known) {
    const distance = editDistance(plain(word), plain(candidate));
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best === undefined ? `; known are ${known.join(', ')}` : `; did you mean "${best}"?`;
}

/** cluster-id, cluster_id and clusterid are the same mistake. */
function plain(word: string): string {
  return word.toLowerCase().replaceAll(/[-_]/g, '');
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
