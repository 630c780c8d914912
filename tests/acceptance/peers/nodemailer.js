// Submits one stored message with nodemailer, the mail client of Node.
// Standard input: JSON with the transport's options, the envelope and the message in base64.
const nodemailer = require("nodemailer");

async function main() {
  const chunks = [];
  for await (const chunk of process.stdin) chunks.push(chunk);
  const task = JSON.parse(Buffer.concat(chunks).toString());
  const transport = nodemailer.createTransport(task.transport);
  const done = await transport.sendMail({
    envelope: task.envelope,
    raw: Buffer.from(task.message, "base64"),
  });
  console.log(done.response);
  transport.close();
}

main().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
