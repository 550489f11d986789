/** The page's one style sheet: light and dark from the system's preference, one column, readable on a phone. */
export const STYLE = `
:root { color-scheme: light dark; --paper: #fdfcf9; --ink: #1d2125; --soft: #5c656d; --line: #d9d6cc; --panel: #f3f1ea;
  --sync: #1f5fa8; --async: #2b8a5c; --none: #b0731a; --floor: #8b8f94; --bad: #b3261e; --good: #2b7a4b; }
@media (prefers-color-scheme: dark) { :root { --paper: #15181b; --ink: #e8e6e1; --soft: #a0a8af; --line: #343a40; --panel: #1e2226;
  --sync: #6ea8ee; --async: #5cc795; --none: #e0a54a; --floor: #7c838a; --bad: #f2786d; --good: #6fcf97; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem 1rem 4rem; max-width: 60rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .2rem; }
h3 { font-size: .95rem; margin: 1.2rem 0 .3rem; }
p, li { max-width: 46rem; }
.soft, .note { color: var(--soft); font-size: .9rem; }
.status { border-left: 4px solid var(--good); background: var(--panel); padding: .6rem .9rem; margin: 1rem 0; }
.status.bad { border-color: var(--bad); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .7rem; margin: 1rem 0; }
.tile { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; padding: .6rem .8rem; }
.tile b { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: .85rem; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; font-size: .85rem; color: var(--soft); margin: .4rem 0; }
.legend i { display: inline-block; width: .8rem; height: .8rem; border-radius: 2px; margin-right: .35rem; vertical-align: -1px; }
.legend i.dot { border-radius: 50%; position: static; transform: none; }
.chart { margin: .4rem 0; }
.row, .axis { display: grid; grid-template-columns: minmax(6.5rem, 11rem) 1fr minmax(4.2rem, 7rem); gap: .6rem; align-items: center;
  min-height: 1.75rem; font-size: .86rem; }
.row b { font-weight: 500; overflow-wrap: anywhere; line-height: 1.2; }
.row span { font-variant-numeric: tabular-nums; line-height: 1.2; }
.row:hover { background: var(--panel); }
.track { position: relative; height: 1.05rem; background: linear-gradient(var(--line), var(--line)) left center / 100% 1px no-repeat; }
.track i { position: absolute; display: block; }
.bar { left: 0; top: 0; height: 100%; border-radius: 0 3px 3px 0; }
.whisker { top: 50%; height: 0; border-top: 2px solid var(--ink); opacity: .75; min-width: 2px; }
.line { top: 50%; height: 3px; margin-top: -1.5px; opacity: .55; min-width: 1px; }
.dot { top: 50%; width: .62rem; height: .62rem; border-radius: 50%; transform: translate(-50%, -50%); }
.dot.d1 { opacity: .75; } .dot.d2 { width: .42rem; height: .42rem; opacity: .6; }
.one { top: -.35rem; bottom: -.35rem; border-left: 2px dashed var(--soft); }
.axis { min-height: 1.2rem; color: var(--soft); font-size: .75rem; }
.axis div { position: relative; height: 1rem; }
.axis span { position: absolute; transform: translateX(-50%); white-space: nowrap; }
i.sync { background: var(--sync); } i.async { background: var(--async); } i.none { background: var(--none); }
i.floor { background: var(--floor); } i.bad { background: var(--bad); } i.good { background: var(--good); }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; }
table { border-collapse: collapse; width: 100%; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .55rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 500; background: var(--panel); }
th.l, td.l { text-align: left; } td.bad { color: var(--bad); font-weight: 600; } tr:last-child td { border-bottom: 0; }
code, pre { font: .85rem/1.45 ui-monospace, monospace; background: var(--panel); border-radius: 4px; }
code { padding: .1rem .3rem; } pre { padding: .7rem .9rem; white-space: pre-wrap; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; font-size: .9rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 34rem) { .row, .axis { grid-template-columns: 5.6rem 1fr 4.4rem; gap: .4rem; font-size: .78rem; } dl { grid-template-columns: 1fr; }
  dd { margin-bottom: .4rem; } }
@media print { .row, table, .tile { break-inside: avoid; } }
`;
