import { describe, expect, test } from 'vitest';
import { Progress } from '../../bench/progress.js';

function written(isTTY: boolean): { readonly text: () => string; readonly progress: Progress } {
  let text = '';
  const output = {
    isTTY,
    columns: 60,
    write: (more: string) => {
      text += more;
    },
  };
  return {
    text: () => text,
    progress: new Progress(output, {
      cell: { count: 1, expectedSeconds: 20 },
      kill: { count: 1, expectedSeconds: 40 },
    }),
  };
}

describe('progress', () => {
  test('into a file is plain lines, one a step', () => {
    const { text, progress } = written(false);
    progress.say('hello');
    progress.begin('first');
    progress.end('cell', 'first', 'done');
    progress.begin('second');
    progress.end('kill', 'second', 'done too');
    progress.close();
    const lines = text().split('\n');
    expect(lines[0]).toBe('hello');
    expect(lines[1]).toMatch(/^\[1\/2, 40 s left\] first: done$/);
    expect(lines[2]).toMatch(/^\[2\/2, 0 s left\] second: done too$/);
    expect(text()).not.toContain('\u001b');
  });

  test('on a terminal is one line with the time left, never longer than the terminal, and gone at the end', () => {
    const { text, progress } = written(true);
    progress.begin('a step with a very long name that does not fit into sixty columns at all');
    expect(text()).toContain('1 m 00 s left');
    const last = text().split('\u001b[2K').at(-1)!;
    expect(last.length).toBeLessThan(60);
    progress.close();
    expect(text().endsWith('\u001b[2K')).toBe(true);
  });
});
