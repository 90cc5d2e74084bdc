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
  tag: (model, spec) => new Tagging(model, spec),
  series: (model, spec) => new Series(model, spec),
  forecast: (model, spec) => new Forecasting(model, spec),
  translate: (model, spec) => new TranslatingPage(model, spec),
  frames: (model, spec) => new FramesPage(model, spec),
};

function writingPage(model, spec) {
  let page = null;
  const conditions = spec.conditions && new Conditions(spec.conditions, settled(() => page.begun()));
  const music = spec.form !== 'text' && new Music();
  const score = (text) => (spec.form === 'abc' ? scoreOfAbc(text) : scoreOfEvents(text.split(/\s+/)));
  page = new Writing(model, spec, {
    conditions, element: music && music.element, changed: music && ((text) => music.show(score(text))),
  });
  page.look();
  return page;
}
