/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * GET /_boda/: a page that shows the report in plain words.  It loads nothing from elsewhere.
 */
#include <string.h>

#include "host/tablet/route.h"

#define POLICY                                                                      \
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; " \
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

static const char page[] =
    "<!doctype html>\n"
    "<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Boda</title>\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<link rel=\"stylesheet\" href=\"page.css\">\n"
    "<script src=\"page.js\" defer></script></head><body>\n"
    "<h1>Boda <small id=\"who\"></small></h1>\n"
    "<p id=\"fault\" hidden></p>\n"
    "<section><h2>Your records</h2><ul id=\"up\"></ul></section>\n"
    "<section><h2>Records from the server</h2><ul id=\"down\"></ul></section>\n"
    "<section><h2>Refused by the server</h2>\n"
    "<p id=\"none\" hidden>Nothing was refused.</p>\n"
    "<table id=\"refused\" hidden><thead><tr><th>Record</th><th>Why</th></tr></thead><tbody></tbody>"
    "</table></section>\n"
    "<section><h2>Couriers</h2><ul id=\"visits\"></ul></section>\n"
    "</body></html>\n";

static const char style[] =
    "body{font:16px/1.5 sans-serif;max-width:45em;margin:1em auto;padding:0 1em;color:#222}\n"
    "h1 small{font-weight:normal;color:#666}\n"
    "h2{font-size:1.1em;margin:1.5em 0 .3em}\n"
    "ul{padding-left:1.2em;margin:0}\n"
    "table{border-collapse:collapse;width:100%}\n"
    "th,td{text-align:left;padding:.3em .6em .3em 0;border-bottom:1px solid #ddd;"
    "overflow-wrap:anywhere;vertical-align:top}\n"
    "#fault{background:#fdd;padding:.5em}\n";

static const char script[] =
    "'use strict';\n"
    "const at = (id) => document.getElementById(id);\n"
    "const element = (name, text) => {\n"
    "  const made = document.createElement(name);\n"
    "  made.textContent = text;\n"
    "  return made;\n"
    "};\n"
    "const time = (text) => {\n"
    "  const date = new Date(text);\n"
    "  return isNaN(date) ? 'an unknown time' : date.toLocaleString();\n"
    "};\n"
    "const fill = (id, lines) => at(id).replaceChildren(...lines.map((line) => element('li', line)));\n"
    "\n"
    "function show(status) {\n"
    "  at('who').textContent = `${status.station}, ${status.user}`;\n"
    "  const up = status.streams.filter((s) => s.to === 'server' && s.waiting > 0);\n"
    "  fill('up', up.length === 0 ? ['All of them have reached the server.'] : up.map((s) =>\n"
    "    `${s.waiting} packets wait until the server has them, the oldest since ` +\n"
    "    `${time(s.oldest_waiting)}.`));\n"
    "  const down = [`${status.shelf_docs} records have come.`];\n"
    "  if (status.view_docs !== null) {\n"
    "    down.push(`The server lists ${status.view_docs} records for you.`);\n"
    "  }\n"
    "  for (const s of status.streams.filter((each) => each.to !== 'server')) {\n"
    "    if (s.missing > 0) {\n"
    "      down.push(`${s.missing} packets have not come, though later ones have` +\n"
    "        (s.missing_since ? `, since ${time(s.missing_since)}.` : '.'));\n"
    "    }\n"
    "  }\n"
    "  if (status.aside.length > 0) {\n"
    "    down.push(`${status.aside.length} packets could not be used: ask for help.`);\n"
    "  }\n"
    "  fill('down', down);\n"
    "  at('none').hidden = status.refused.length > 0;\n"
    "  at('refused').hidden = status.refused.length === 0;\n"
    "  at('refused').tBodies[0].replaceChildren(...status.refused.map((each) => {\n"
    "    const row = document.createElement('tr');\n"
    "    row.append(element('td', each.id), element('td', each.reason || each.error));\n"
    "    return row;\n"
    "  }));\n"
    "  fill('visits', status.visits.length === 0 ? ['No courier has been here yet.'] :\n"
    "    status.visits.map((each) => `${each.name}, last here ${time(each.last_visit)}`));\n"
    "}\n"
    "\n"
    "async function load() {\n"
    "  try {\n"
    "    // Not a relative URL: a page that was opened as http://NAME:SECRET@... could not ask for one.\n"
    "    const answer = await fetch(`${location.origin}/_boda/status`, { credentials: 'same-origin' });\n"
    "    const status = await answer.json();\n"
    "    if (!answer.ok) {\n"
    "      throw new Error(status.reason);\n"
    "    }\n"
    "    show(status);\n"
    "    at('fault').hidden = true;\n"
    "  } catch (fault) {\n"
    "    at('fault').textContent = `This cannot be shown now: ${fault.message}`;\n"
    "    at('fault').hidden = false;\n"
    "  }\n"
    "}\n"
    "load();\n"
    "setInterval(load, 10000);\n";

void page_get(struct request *request)
{
    const char *path = request->uri.text, *suffix = strrchr(path, '.');
    bool is_style = suffix != NULL && strcmp(suffix, ".css") == 0;
    bool is_script = suffix != NULL && strcmp(suffix, ".js") == 0;

    answer_json(&request->answer, 200, is_style ? style : is_script ? script : page);
    request->answer.type = is_style    ? "text/css; charset=utf-8"
                           : is_script ? "text/javascript; charset=utf-8"
                                       : "text/html; charset=utf-8";
    request->answer.policy = POLICY;
}
