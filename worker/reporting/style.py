"""The report's style sheet: one set of names for colours, light or dark as the reader's system says."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f5f6f8; --card: #ffffff; --line: #e1e5ea; --text: #1c232d; --soft: #5b6675; --grid: #e6e9ee;
  --mark: #eef1f5; --accent: #23629e;
  --accepted: #2e8b57; --with_errors: #8fbf4f; --rejected: #c8443c; --invalid: #8c5aa8;
  --undetermined: #d9a514; --review: #e07b28; --undelivered: #6d7c8f; --plain: #3f7fbf;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12161c; --card: #1a2028; --line: #2b343f; --text: #e4e9ef; --soft: #9aa7b6; --grid: #2a323d;
    --mark: #232b35; --accent: #7db4ea;
    --accepted: #4fb67c; --with_errors: #a8cf68; --rejected: #e8706a; --invalid: #b48bd0;
    --undetermined: #e5bd4a; --review: #ee9a55; --undelivered: #8b9aad; --plain: #5f9fdc;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 20px 48px; }
header { margin-bottom: 20px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 16px; margin: 0 0 2px; }
p { margin: 0; }
.soft, header p, .card > p { color: var(--soft); }
.card > p { margin-bottom: 12px; font-size: 13.5px; }
.grid { display: grid; gap: 16px; grid-template-columns: repeat(12, minmax(0, 1fr)); }
.card { grid-column: span 12; background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 16px 18px; min-width: 0; break-inside: avoid; }
.half { grid-column: span 6; }
.wide-card { grid-column: span 8; }
.narrow { grid-column: span 4; }
.tiles { display: grid; gap: 16px; grid-template-columns: repeat(6, minmax(0, 1fr)); margin-bottom: 16px; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 12px 14px; }
.tile b { display: block; font-size: 23px; line-height: 1.25; font-weight: 650; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 13px; }
.scroll { overflow-x: auto; }
.scroll > svg { min-width: 440px; }
.narrow .scroll > svg { min-width: 0; }
svg { display: block; width: 100%; height: auto; }
svg.meter { width: 160px; height: 12px; margin-top: 5px; }
svg.rounded { border-radius: 6px; }
svg text { fill: var(--text); font-size: 13px; font-family: inherit; }
svg text.tick { fill: var(--soft); font-size: 11.5px; }
svg text.value { font-variant-numeric: tabular-nums; }
svg line.grid { stroke: var(--grid); stroke-width: 1; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; }
th { text-align: left; font-weight: 600; color: var(--soft); white-space: nowrap; }
th, td { padding: 6px 12px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
td { overflow-wrap: anywhere; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.short { white-space: nowrap; overflow-wrap: normal; }
td.wide { min-width: 230px; }
code { font: 12.5px/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; background: var(--mark);
  border-radius: 4px; padding: 1px 5px; overflow-wrap: anywhere; }
.key { display: inline-block; width: 10px; height: 10px; border-radius: 3px; margin-right: 7px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: 13px; color: var(--soft); margin-top: 8px; }
.bad { color: var(--rejected); font-weight: 600; }
.good { color: var(--accepted); }
.none { color: var(--soft); padding: 14px 0; }
footer { margin-top: 20px; color: var(--soft); font-size: 13px; }
rect.accepted { fill: var(--accepted); } .key.accepted { background: var(--accepted); }
rect.accepted_with_errors { fill: var(--with_errors); } .key.accepted_with_errors { background: var(--with_errors); }
rect.rejected, rect.refused { fill: var(--rejected); } .key.rejected, .key.refused { background: var(--rejected); }
rect.invalid { fill: var(--invalid); } .key.invalid { background: var(--invalid); }
rect.undetermined, rect.unclear { fill: var(--undetermined); }
.key.undetermined, .key.unclear { background: var(--undetermined); }
rect.review { fill: var(--review); } .key.review { background: var(--review); }
rect.undelivered { fill: var(--undelivered); } .key.undelivered { background: var(--undelivered); }
rect.plain { fill: var(--plain); }
@media (max-width: 900px) {
  .half, .wide-card, .narrow { grid-column: span 12; }
  .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); }
}
@media print {
  body { background: none; }
  main { max-width: none; padding: 0; }
}
"""
