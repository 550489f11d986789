import { describe, expect, test } from 'vitest';
import { checkTopicName, type NodeOptions, resolveNodeOptions } from '../../src/cluster/node-options.js';
import { staticTopicId } from '../../src/cluster/topic-id.js';

const good: NodeOptions = {
  nodeId: 1,
  clusterId: 'demo',
  dataDirectory: './d1',
  listen: { host: '127.0.0.1', port: 9101 },
  topics: [{ name: 'events', partitions: 3 }],
};

describe('node options', () => {
  test('have defaults', () => {
    const resolved = resolveNodeOptions(good);
    expect(resolved).toMatchObject({
      heartbeatMs: 100,
      electionMs: 1000,
      formatIfMissing: false,
      allowPlaintext: false,
    });
    expect(resolved.peers).toEqual([{ id: 1, host: '127.0.0.1', port: 9101 }]);
    expect(resolved.topics).toEqual([{ name: 'events', partitions: 3, log: { flush: 'sync' } }]);
    expect(Object.isFrozen(resolved)).toBe(true);
  });

  test.each<[string, Partial<NodeOptions>, RegExp]>([
    ['node id 0', { nodeId: 0 }, /node id is 0/],
    ['a cluster id with a space', { clusterId: 'a b' }, /cluster id/],
    ['an empty data directory', { dataDirectory: '' }, /data directory/],
    ['a port out of range', { listen: { host: '127.0.0.1', port: 70_000 } }, /port of listen is 70000/],
    ['peers without this node', { peers: [{ id: 2, host: '127.0.0.1', port: 1 }] }, /lacks node 1/],
    [
      'two peers of one id',
      {
        peers: [
          { id: 1, host: '127.0.0.1', port: 1 },
          { id: 1, host: '127.0.0.1', port: 2 },
        ],
      },
      /same id, 1/,
    ],
    ['no topics', { topics: [] }, /no topic/],
    ['a topic twice', { topics: [{ name: 'a' }, { name: 'a' }] }, /same name, a/],
    ['a flush mode that is none', { topics: [{ name: 'a', flush: 'often' as never }] }, /sync, async or none/],
    ['a partition count of 0', { topics: [{ name: 'a', partitions: 0 }] }, /partitions of topic a is 0/],
    ['elections faster than heartbeats allow', { heartbeatMs: 100, electionMs: 300 }, /at least 5/],
    ['plain text beyond loopback', { listen: { host: '0.0.0.0', port: 9101 } }, /--allow-plaintext/],
    ['a limit of the store', { store: { asyncMaxMs: 0 } }, /store: asyncMaxMs 0: give a whole number from 1 to 60000/],
    [
      'a limit of a topic',
      { topics: [{ name: 'a', segmentBytes: 1 }] },
      /topic a: segmentBytes 1: give .* from 1048576/,
    ],
    [
      'an unknown setting',
      { topics: [{ name: 'a', segmentByte: 1 } as never] },
      /topic a: .*did you mean "segmentBytes"/,
    ],
    ['a port that its peers are not told', { peers: [{ id: 1, host: '127.0.0.1', port: 9 }] }, /:9101, but .* port 9:/],
  ])('refuse %s', (_, change, message) => {
    expect(() => resolveNodeOptions({ ...good, ...change })).toThrow(
      expect.objectContaining({ code: 'INVALID_CONFIG', message: expect.stringMatching(message) }),
    );
  });

  test('plain text beyond loopback is possible when asked for', () => {
    const listen = { host: '0.0.0.0', port: 9101 };
    expect(resolveNodeOptions({ ...good, listen, allowPlaintext: true }).listen).toEqual(listen);
  });

  test.each(['', '.', '..', '../x', 'a/b', 'a\\b', 'a b', 'ü', 'x'.repeat(201), 'a\0b'])(
    'topic name %j is refused',
    (name) => {
      expect(() => checkTopicName(name)).toThrow(expect.objectContaining({ code: 'INVALID_TOPIC' }));
    },
  );

  test('a topic id depends on the cluster and the name, and on nothing else', () => {
    expect(staticTopicId('demo', 'events')).toBe(staticTopicId('demo', 'events'));
    expect(staticTopicId('demo', 'events')).toMatch(/^[0-9a-f]{12}8[0-9a-f]{3}[89ab][0-9a-f]{15}$/);
    const others = [staticTopicId('demo', 'event'), staticTopicId('demos', 'events'), staticTopicId('demoe', 'vents')];
    expect(new Set([staticTopicId('demo', 'events'), ...others]).size).toBe(4);
  });
});
