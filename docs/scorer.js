/* The search ranks guides before the reference, and the pages about the project last. */

const lower = { project: 4, reference: 1 };

var Scorer = {
  score: ([page, , , , score]) => score - (lower[page.split("/")[0]] ?? 0),

  // The rest is as in Sphinx.
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
