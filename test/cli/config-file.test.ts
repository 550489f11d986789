import { describe, expect, test } from 'vitest';
import { parseConfig } from '../../src/cli/config-file.js';
import { nodeSettings } from '../../src/cli/settings.js';
import { didYouMean } from '../../src/suggestion.js';

const good = `
id: 2
clusterId: demo
data: ./d2
listen: 127.0.0.1:9102
peers:
  - 1@127.0.0.1:9101
  - 2@127.0.0.1:9102
topics:
  - name: events
    partitions: 3
    flush: async
  - metrics:partitions=2,segmentBytes=4MiB
store:
  journalFileBytes: 8MiB
  asyncMaxMs: 20
logLevel: warn
`;

describe('a configuration file', () => {
  test('says everything the flags can', () => {
    const { node, logLevel } = nodeSettings(parseConfig(good, 'node.yaml'));
    expect(logLevel).toBe('warn');
    expect(node).toEqual({
      nodeId: 2,
      clusterId: 'demo',
      dataDirectory: './d2',
      listen: { host: '127.0.0.1', port: 9102 },
      peers: [
        { id: 1, host: '127.0.0.1', port: 9101 },
        { id: 2, host: '127.0.0.1', port: 9102 },
      ],
      topics: [
        { name: 'events', partitions: 3, flush: 'async' },
        { name: 'metrics', partitions: 2, segmentBytes: 4 * 2 ** 20 },
      ],
      store: { journalFileBytes: 8 * 2 ** 20, asyncMaxMs: 20 },
    });
  });

  test.each([
    [
      'an unknown key',
      'id: 1\ncluster_id: demo\n',
      'node.yaml:2: there is no setting "cluster_id"; did you mean "clusterId"?',
    ],
    ['an unknown key of a section', 'store:\n\n  asyncMaxMS: 5\n', 'did you mean "asyncMaxMs"?'],
    [
      'a value of the wrong kind',
      'id: 1\ndata: ./d\nheartbeatMs: soon\n',
      'node.yaml:3: heartbeatMs: "soon" is not a whole number',
    ],
    ['an address without a port', 'listen: localhost\n', 'node.yaml:1: listen: "localhost" is no address'],
    ['a peer without an id', 'peers:\n  - 127.0.0.1:9101\n', 'is no peer: write id@host:port'],
    ['an unknown setting of a topic', 'topics:\n  - name: a\n    partition: 3\n', 'did you mean "partitions"?'],
    ['a topic without a name', 'topics:\n  - partitions: 3\n', 'a topic has no name'],
    [
      'a size with a unit nobody knows',
      'store:\n  journalFileBytes: 8MB\n',
      'node.yaml:2: store.journalFileBytes: "8MB" is no size',
    ],
    ['a key twice', 'id: 1\nid: 2\n', 'node.yaml:2'],
    ['broken YAML', 'id: [1\n', 'node.yaml:'],
    ['a key without a value', 'id:\n', 'node.yaml:1: id has no value'],
    ['a list instead of a mapping', '- id: 1\n', 'must be a mapping'],
    [
      'a limit of the store out of range',
      'store:\n  asyncMaxMs: 0\n',
      'node.yaml:2: store.asyncMaxMs: "0" is not from 1 to 60000',
    ],
    [
      'a limit of a topic out of range',
      'topics:\n  - a\n  - name: b\n    flush: none\n    segmentBytes: 1\n',
      'node.yaml:5: topics: segmentBytes: "1" is not from 1048576 to 1073741824',
    ],
    [
      'a flush mode that is none',
      'topics:\n  - name: b\n    flush: often\n',
      'node.yaml:3: topics: flush: "often" must',
    ],
    ['a peer further down', 'peers:\n  - 1@a:1\n  - 2\n', 'node.yaml:3: peers: "2" is no peer'],
    ['an empty item', 'topics:\n  -\n', 'node.yaml'],
    ['a boolean that is none', 'formatIfMissing: maybe\n', 'must be true or false'],
  ])('with %s is refused with its place', (_, text, message) => {
    expect(() => parseConfig(text, 'node.yaml')).toThrow(
      expect.objectContaining({ code: 'INVALID_CONFIG', message: expect.stringContaining(message) }),
    );
  });

  test('that names a topic which leaves the directory is refused with its place', () => {
    expect(() => parseConfig('topics:\n  - a\n  - name: ../x\n', 'node.yaml')).toThrow(
      expect.objectContaining({ code: 'INVALID_TOPIC', message: expect.stringContaining('node.yaml:3: "../x" is no') }),
    );
  });

  test('that lacks something says what, as flag and as key', () => {
    expect(() => nodeSettings(parseConfig('id: 1\n', 'node.yaml'))).toThrow(
      /--cluster-id <name> is missing \(in a file: clusterId\)/,
    );
  });
});

test('a suggestion is made only for what is near', () => {
  expect(didYouMean('partion', ['partitions', 'flush'])).toBe('; did you mean "partitions"?');
  expect(didYouMean('colour', ['partitions', 'flush'])).toBe('; known are partitions, flush');
});
