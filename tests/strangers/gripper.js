// modbus-serial at a gripper: closes it, waits until it rests, and says its status and the position that was asked for.
const Modbus = require("modbus-serial");

const client = new Modbus();
client.connectTCP("127.0.0.1", { port: Number(process.argv[2]) }).then(async () => {
  client.setID(9);
  await client.writeRegisters(1000, [0x0900, 255, 0xffff]);
  let status;
  do {
    status = (await client.readInputRegisters(2000, 3)).data;
  } while (status[0] >> 14 === 0);
  console.log(status[0] >> 8, status[1] & 255);
  client.close(() => process.exit(0));
});
