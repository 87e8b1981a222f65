"""The style sheet of a comparison: light and dark screens, phones, and paper."""

from __future__ import annotations

# Colours are CSS variables, which the pictures use too (see pictures.py).
STYLE = """
.pymackay{--ink:#1c2430;--soft:#566070;--line:#d9dee5;--paper:#ffffff;--shade:#f4f6f9;
 --good:#0b6e4f;--bad:#a3281b;--blue:#0072b2;
 color:var(--ink);background:var(--paper);font:15px/1.5 system-ui,sans-serif;max-width:64rem}
.pymackay h1,.pymackay .verdict b{font-size:1.3rem;line-height:1.35;margin:0;font-weight:600}
.pymackay h2{font-size:1.05rem;margin:2rem 0 .5rem}
.pymackay h3{font-size:.95rem;margin:1.2rem 0 .3rem}
.pymackay .verdict{border-left:.35rem solid var(--good);padding:.4rem 1rem}
.pymackay .verdict.bad{border-color:var(--bad)}
.pymackay .advice,.pymackay .note{color:var(--soft);margin:.3rem 0 0}
.pymackay dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;margin:.6rem 0}
.pymackay dt{color:var(--soft)} .pymackay dd{margin:0;overflow-wrap:anywhere}
.pymackay .wide{overflow-x:auto}
.pymackay table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
.pymackay th,.pymackay td{padding:.2rem .6rem;text-align:right;border-bottom:1px solid var(--line);
 white-space:nowrap}
.pymackay th:first-child,.pymackay td:first-child,.pymackay .text{text-align:left;
 white-space:normal}
.pymackay td:first-child{overflow-wrap:anywhere}
.pymackay th{color:var(--soft);font-weight:500} .pymackay tr.bad td{color:var(--bad)}
.pymackay tr.bad td:first-child::after{content:" ✗"}
.pymackay tr.title td{font-weight:600;padding-top:.9rem}
.pymackay pre{background:var(--shade);padding:.7rem .9rem;border-radius:.3rem;overflow-x:auto;
 font:13px/1.5 ui-monospace,monospace;margin:.4rem 0}
.pymackay .pictures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));
 gap:1.2rem 1.6rem}
.pymackay figure{margin:0} .pymackay svg{display:block;width:100%;height:auto;max-width:34rem}
.pymackay svg text{font-family:system-ui,sans-serif}
.pymackay svg *{stroke-linejoin:round;stroke-linecap:butt}
.pymackay figcaption{color:var(--soft);font-size:.9rem}
@media screen and (prefers-color-scheme:dark){.pymackay{--ink:#e6e9ee;--soft:#a3aebc;
 --line:#333c49;--paper:#14181f;--shade:#1d232d;--good:#4cc79b;--bad:#ff8a7a;--blue:#56b4e9}}
@media screen and (max-width:40rem){
.pymackay pre{white-space:pre-wrap;overflow-wrap:anywhere}
.pymackay table.cards,.pymackay .cards tbody{display:block} .pymackay .cards thead{display:none}
.pymackay .cards tr{display:grid;grid-template-columns:repeat(auto-fill,minmax(8.2rem,1fr));
 gap:.1rem .8rem;border-bottom:1px solid var(--line);padding:.45rem 0}
.pymackay .cards td{border:0;padding:0;text-align:left;white-space:normal;overflow-wrap:anywhere}
.pymackay .cards td:first-child{grid-column:1/-1;font-weight:500}
.pymackay .cards td:empty{display:none}
.pymackay .cards td[data-head]::before{content:attr(data-head) " ";color:var(--soft)}}
@media print{.pymackay{font-size:10pt;max-width:none} .pymackay h2,.pymackay h3{break-after:avoid}
.pymackay .note{break-before:avoid}
.pymackay tr,.pymackay figure,.pymackay pre,.pymackay .verdict{break-inside:avoid}
.pymackay .wide{overflow:visible} .pymackay pre{white-space:pre-wrap}
.pymackay th,.pymackay td{padding:.1rem .4rem;white-space:normal}
.pymackay .pictures{grid-template-columns:1fr 1fr}}
"""
