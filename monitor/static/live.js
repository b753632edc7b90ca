/* Keeps a page up to date: fetches what changes by itself, and replaces the sections that did change. */
(function () {
  "use strict";

  var EVERY_MS = 2000;
  var live = document.getElementById("pl-live");
  if (!live) { return; }

  var status = document.getElementById("pl-status");
  var said = document.getElementById("pl-said");
  var time = document.getElementById("pl-time");
  var dot = document.getElementById("pl-dot");
  var address = new URL(window.location.href);
  var sources = new Map();  /* section's id -> how it came, to tell what has changed */
  address.searchParams.set("part", "1");

  /* Screen readers are told when this changes, not every two seconds. */
  function say(text, good) {
    if (said.textContent !== text) { said.textContent = text; }
    dot.className = "status-dot " + (good ? "status-dot-live" : "status-dot-error");
    status.hidden = false;
  }

  function sections(root) {
    return Array.prototype.filter.call(root.children, function (one) { return one.id; });
  }

  function names(found) {
    return found.map(function (one) { return one.id; }).join("\n");
  }

  /* Whoever reads a page by keyboard, or has scrolled a table sideways, stays where they are. */
  function replace(old, fresh) {
    var active = document.activeElement;
    var key = active && old.contains(active) ? active.id || active.getAttribute("href") : null;
    var scrolled = Array.prototype.map.call(old.querySelectorAll(".table-responsive"), function (one) {
      return one.scrollLeft;
    });
    old.replaceWith(fresh);
    fresh.querySelectorAll(".table-responsive").forEach(function (one, at) { one.scrollLeft = scrolled[at] || 0; });
    if (key !== null) {
      Array.prototype.some.call(fresh.querySelectorAll("a, button"), function (one) {
        var same = one.id === key || one.getAttribute("href") === key;
        if (same) { one.focus({preventScroll: true}); }
        return same;
      });
    }
  }

  function selecting() {
    var chosen = window.getSelection();
    return chosen && !chosen.isCollapsed && live.contains(chosen.anchorNode);
  }

  function patch(text) {
    var fresh = sections(new DOMParser().parseFromString(text, "text/html").body);
    var old = sections(live);
    if (names(fresh) !== names(old)) {
      live.replaceChildren.apply(live, fresh);
      sources = new Map();
    }
    fresh.forEach(function (one) {
      var source = one.outerHTML;
      var known = sources.get(one.id);
      var there = document.getElementById(one.id);
      if (there !== one && (known === undefined ? there.outerHTML : known) !== source) { replace(there, one); }
      sources.set(one.id, source);
    });
  }

  function away(text) {
    var found = new DOMParser().parseFromString(text, "text/html").querySelector("[data-pl-away]");
    return found ? found.textContent : "Flower doesn't answer as it should; reload this page.";
  }

  async function look() {
    try {
      var answer = await fetch(address, {credentials: "same-origin", signal: AbortSignal.timeout(20000)});
      var text = await answer.text();
      if (answer.ok && !answer.redirected) {
        if (!selecting()) {
          patch(text);
          time.textContent = new Date().toISOString().slice(11, 19) + " UTC";
        }
        say("Live", true);
      } else if (answer.status === 401 || answer.redirected) {
        say("Your login is over; reload this page.", false);
      } else if (answer.status === 404) {
        say("The ledger doesn't have this any more.", false);
      } else {
        say(away(text), false);
      }
    } catch (error) {
      say("Flower doesn't answer; what you see is old.", false);
    }
  }

  async function turn() {
    if (!document.hidden) { await look(); }
    window.setTimeout(turn, EVERY_MS);
  }

  document.addEventListener("visibilitychange", function () {
    if (!document.hidden) { look(); }
  });
  turn();
}());
