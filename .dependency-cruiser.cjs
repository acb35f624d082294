// Import direction, held by a program. Layers stand lowest first: a file may import its own folder
// and any earlier line; folders on one line are strangers. `sim` sees all and is never shipped.
// docs: ARCHITECTURE.md. The rules themselves are tested in tools/layers.test.ts.

/** Change this list together with the architecture page, never alone. */
const LAYERS = [
  ['base'],
  ['policies', 'runtime'],
  ['wire', 'disk'],
  ['fabric'],
  ['leases'],
  ['allocator', 'replication', 'pager'],
  ['memory-node', 'controller', 'client'],
  ['block', 'kv', 'datasets', 'vnode', 'tasks'],
  ['doors'],
  // A command may start a role's main; a role never knows the command line.
  ['apps'],
  ['cli'],
];

/** A request walks the memory node in this order; a later station never calls an earlier one. */
const STATIONS = ['network', 'translate', 'access', 'store'];

const NATIVES = ['koffi', '@photostructure/sqlite', '@node-rs/crc32'];

const TEST = '\\.(test|fuzz|bench)\\.ts$';

const below = (i) => LAYERS.slice(0, i).flat();
const above = (i) => [...LAYERS.slice(i + 1).flat(), 'sim'];
const inside = (names) => `^src/(${names.join('|')})/`;

const upward = LAYERS.map((layer, i) => ({
  name: `no-upward-from-${layer.join('-')}`,
  severity: 'error',
  comment: `may import only itself and: ${below(i).join(', ') || 'nothing'}`,
  from: { path: inside(layer), pathNot: TEST },
  to: { path: inside(above(i)) },
}));

const strangers = LAYERS.filter((layer) => layer.length > 1).map((layer) => ({
  name: `strangers-${layer.join('-')}`,
  severity: 'error',
  comment: 'folders on one layer never import each other',
  from: { path: inside(layer), pathNot: TEST },
  to: { path: inside(layer), pathNot: '^src/$1/' },
}));

const stations = STATIONS.slice(1).map((station, i) => ({
  name: `no-backward-from-${station}`,
  severity: 'error',
  comment: `the memory node's path is ${STATIONS.join(' -> ')}, never back`,
  from: { path: `^src/memory-node/${station}/`, pathNot: TEST },
  to: { path: `^src/memory-node/(${STATIONS.slice(0, i + 1).join('|')})/` },
}));

const edges = [
  {
    name: 'doors-are-siblings',
    severity: 'error',
    comment: 'what two doors share belongs below them',
    from: { path: '^src/doors/([^/]+)/', pathNot: TEST },
    to: { path: '^src/doors/[^/]+/', pathNot: ['^src/doors/$1/', '^src/doors/testing/'] },
  },
  {
    name: 'node-builtins-only-at-the-edge',
    severity: 'error',
    comment: 'the core meets the world through src/runtime, so that it can be simulated',
    from: { path: '^src/', pathNot: `^src/(runtime/node|apps|cli|sim)/|${TEST}` },
    to: { dependencyTypes: ['core'] },
  },
  {
    name: 'natives-only-in-runtime-node',
    severity: 'error',
    comment: 'one folder to audit, one place for each fallback',
    from: { path: '^src/', pathNot: '^src/runtime/node/' },
    to: { path: `(^|/)node_modules/(${NATIVES.join('|')})(/|$)` },
  },
  {
    name: 'real-runtime-is-chosen-only-in-apps',
    severity: 'error',
    from: { path: '^src/', pathNot: `^src/(apps|sim|runtime/node)/|${TEST}` },
    to: { path: '^src/runtime/node/' },
  },
  {
    name: 'simulation-is-never-shipped',
    severity: 'error',
    from: { path: '^src/', pathNot: `^src/(sim|runtime/simulated)/|${TEST}` },
    to: { path: '^src/(sim|runtime/simulated)/' },
  },
  {
    name: 'two-runtimes-are-strangers',
    severity: 'error',
    comment: 'a real clock behind a simulated one would break every replay',
    from: { path: '^src/runtime/(node|simulated)/', pathNot: TEST },
    to: { path: '^src/runtime/(node|simulated)/', pathNot: '^src/runtime/$1/' },
  },
  {
    name: 'no-development-package-is-shipped',
    severity: 'error',
    from: { path: '^src/', pathNot: `^src/sim/|${TEST}` },
    to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['npm', 'type-only'] },
  },
];

const hygiene = [
  { name: 'no-circular', severity: 'error', from: {}, to: { circular: true } },
  { name: 'no-unresolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
  {
    name: 'no-orphans',
    severity: 'error',
    comment: 'a file nobody imports and that imports nothing is dead',
    from: { orphan: true, pathNot: `${TEST}|\\.d\\.ts$|^src/(apps|cli|sim)/` },
    to: {},
  },
];

module.exports = {
  forbidden: [...hygiene, ...upward, ...strangers, ...stations, ...edges],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
  },
};
