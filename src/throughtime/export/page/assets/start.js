/* The page begins: what the file holds becomes a model, and the page of what it is for. */

function start() {
  const spec = JSON.parse(document.getElementById('spec').textContent);
  const main = document.getElementById('main');
  const model = new Model(spec.model, bytesOf(document.getElementById('weights').textContent));
  const page = PAGES[spec.page](model, spec);
  main.replaceChildren(page.element);
}

const PAGES = {
  write: writingPage,
  classify: (model, spec) => new Classifying(model, spec),
};

function writingPage(model, spec) {
  let page = null;
  const conditions = spec.conditions && new Conditions(spec.conditions, settled(() => page.begun()));
  page = new Writing(model, spec, { conditions });
  page.look();
  return page;
}
