// SPDX-License-Identifier: MIT
// peer_ndnts.mjs: NDNts as others would use it: an app that serves or fetches through the forwarder at a Unix socket,
// and a small forwarder of its own. The packets, the faces, the link headers, the PIT tokens, the tables and the
// registration of prefixes are those of NDNts; the files are told by name, and what went through is printed.
// Guarantees that Data is what its DigestSha256 says. Knows no trust.
//
//   node peer_ndnts.mjs serve SOCKET PREFIX FILE     Data PREFIX/hello, and FILE as the segments of PREFIX/file
//   node peer_ndnts.mjs fetch SOCKET NAME            the segments of NAME, whose version it finds out
//   node peer_ndnts.mjs get SOCKET NAME              one Data
//   node peer_ndnts.mjs leave SOCKET PREFIX          registers it, takes that back, and stays
//   node peer_ndnts.mjs forwarder SOCKET [PORT]      until it is ended; PORT: a TCP port of all addresses, too
//
// Needs @ndn/* in a node_modules beside it.
import crypto from "node:crypto";
import { once } from "node:events";
import fs from "node:fs/promises";
import net from "node:net";

import { consume, produce } from "@ndn/endpoint";
import { Forwarder } from "@ndn/fw";
import { L3Face, StreamTransport } from "@ndn/l3face";
import { AltUri, Version } from "@ndn/naming-convention2";
import { ControlParameters, ControlResponse, enableNfdPrefixReg } from "@ndn/nfdmgmt";
import { UnixTransport } from "@ndn/node-transport";
import { Data, digestSigning, Interest, Name } from "@ndn/packet";
import { BufferChunkSource, discoverVersion, fetch, serveVersioned } from "@ndn/segmented-object";
import { Decoder, Encoder } from "@ndn/tlv";

const SEGMENT_BYTES = 8000;
const lp = { keepAlive: 50 }; // ms without a packet, then an empty one: a minute by default, and never seen in a test
const localhost = new Name("/localhost/nfd");
const fw = Forwarder.getDefault();

function say(hash, bytes) {
  console.log(`${bytes} bytes, sha256 ${hash.digest("hex")}`);
}

async function connect(socket) {
  return UnixTransport.createFace({ fw, lp, l3: { local: true } }, socket);
}

// NDNts registers behind the app's back, and tries for ever; so this looks over its shoulder.
function registerPrefixes(face) {
  const registration = enableNfdPrefixReg(face, { signer: digestSigning });
  for (const [method, done] of [["doAdvertise", "registered"], ["doWithdraw", "unregistered"]]) {
    const original = registration[method];
    registration[method] = async (name, state) => {
      try {
        await original.call(registration, name, state);
        console.log(`${done} ${AltUri.ofName(name)}`);
      } catch (err) {
        console.log(`not ${done}: ${AltUri.ofName(name)}: ${err}`);
        throw err;
      }
    };
  }
  return registration;
}

async function serve(socket, prefix, path) {
  registerPrefixes(await connect(socket));
  const file = new BufferChunkSource(await fs.readFile(path), { chunkSize: SEGMENT_BYTES });
  const quiet = { fw, announcement: false };
  const server = serveVersioned(new Name(`${prefix}/file`), file, { signer: digestSigning, pOpts: quiet });
  console.log(`serving ${AltUri.ofName(server.prefix)}`);
  const hello = new Data(`${prefix}/hello`, Data.FreshnessPeriod(1000), new TextEncoder().encode("hello from NDNts"));
  await digestSigning.sign(hello);
  produce(prefix, async (interest) => (interest.name.equals(hello.name) ? hello : undefined), { fw });
}

async function leave(socket, prefix) {
  const registration = registerPrefixes(await connect(socket));
  const producer = produce(prefix, async () => undefined, { fw });
  const advertise = registration.doAdvertise;
  registration.doAdvertise = async (name, state) => {
    await advertise(name, state);
    producer.close();
  };
}

async function fetchFile(socket, uri) {
  const face = await connect(socket);
  const cOpts = { fw, verifier: digestSigning, retx: 3 };
  const asked = AltUri.parseName(uri);
  const name = asked.at(-1).is(Version) ? asked : await discoverVersion(asked, { cOpts });
  const hash = crypto.createHash("sha256");
  let bytes = 0;
  for await (const chunk of fetch(name, { cOpts, fw, verifier: digestSigning }).chunks()) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  say(hash, bytes);
  face.close();
}

async function getData(socket, uri) {
  const face = await connect(socket);
  const data = await consume(new Interest(uri, Interest.MustBeFresh), { fw, verifier: digestSigning, retx: 3 });
  say(crypto.createHash("sha256").update(data.content), data.content.length);
  face.close();
}

// The manager that a forwarder needs so that apps can register, for the face on which commands come in.
class ManagedFace {
  constructor(conn) {
    this.l3 = new L3Face(new StreamTransport(conn), { local: true, advertiseFrom: false }, lp);
    this.attributes = this.l3.attributes;
    this.replies = [];
    this.rx = this.commandsApart();
    this.tx = (packets) => this.l3.tx(this.repliesToo(packets));
  }

  async *commandsApart() {
    for await (const packet of this.l3.rx) {
      if (packet.l3 instanceof Interest && localhost.isPrefixOf(packet.l3.name))
        this.reply({ l3: await this.answer(packet.l3), token: packet.token });
      else yield packet;
    }
  }

  async answer(interest) {
    const [module, verb] = [interest.name.at(2).text, interest.name.at(3).text];
    let response = new ControlResponse(501, `no ${module}/${verb} here`, new ControlParameters());
    if (module === "rib" && (verb === "register" || verb === "unregister")) {
      const { name } = Decoder.decode(interest.name.at(4).value, ControlParameters);
      if (verb === "register" && !this.face.hasRoute(name)) this.face.addRoute(name);
      if (verb === "unregister" && this.face.hasRoute(name)) this.face.removeRoute(name);
      console.log(`${verb} ${name}`);
      const body = new ControlParameters({ name, faceId: 256, origin: 0, cost: 0, flags: 1 });
      response = new ControlResponse(200, "OK", body);
    }
    const data = new Data(interest.name, Data.FreshnessPeriod(1), Encoder.encode(response));
    await digestSigning.sign(data);
    return data;
  }

  reply(packet) {
    this.replies.push(packet);
    this.wake?.();
  }

  async *repliesToo(packets) {
    const iterator = packets[Symbol.asyncIterator]();
    let next = iterator.next();
    for (;;) {
      const woken = new Promise((resolve) => { this.wake = resolve; });
      while (this.replies.length > 0) yield this.replies.shift();
      const result = await Promise.race([next, woken]);
      if (result === undefined) continue;
      if (result.done) return;
      yield result.value;
      next = iterator.next();
    }
  }
}

async function forwarder(socket, port) {
  await fs.rm(socket, { force: true });
  for (const where of port ? [socket, Number(port)] : [socket]) {
    const server = net.createServer((conn) => {
      conn.on("error", () => {}); // its end is told by "close"
      const managed = new ManagedFace(conn);
      managed.face = fw.addFace(managed);
      conn.on("close", () => managed.face.close());
    });
    server.listen(where);
    await once(server, "listening");
  }
  console.log("ready");
}

const commands = { serve, fetch: fetchFile, get: getData, leave, forwarder };
await commands[process.argv[2]](...process.argv.slice(3));
