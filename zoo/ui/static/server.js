// Questions to the server (zoo/ui/calls.py): JSON both ways.

class Refused extends Error {
  constructor(message, gone) {
    super(message);
    this.gone = gone;
  }
}

class Lost extends Error {
  constructor() {
    super(t("unreached"));
  }
}

/** What the server answers. Throws, with a sentence for people, Refused when it says no and Lost when it says nothing. */
async function ask(name, data) {
  let reply = null;
  try {
    reply = await server[name](data);
  } catch {
    // Told like no answer, which is what gradio makes of most failures.
  }
  if (!reply) throw new Lost();
  if (reply.error) throw new Refused(zooWords.told(reply.error), Boolean(reply.gone));
  return reply;
}
