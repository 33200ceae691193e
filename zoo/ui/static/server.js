// Questions to the server (zoo/ui/calls.py): JSON both ways.

class Refused extends Error {
  constructor(message, gone) {
    super(message);
    this.gone = gone;
  }
}

/**
 * What the server answers. Throws Refused with a sentence for people when it says no, and whatever fetch throws when
 * it cannot be reached.
 */
async function ask(name, data) {
  const reply = await server[name](data);
  if (reply && reply.error) throw new Refused(zooWords.told(reply.error), Boolean(reply.gone));
  return reply;
}
