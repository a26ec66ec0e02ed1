// node-opcua-client at a glovebox: browses, reads, writes what it may not, opens the antechamber, hears it in a subscription.
const opcua = require("node-opcua-client");

(async () => {
  const client = opcua.OPCUAClient.create({ endpointMustExist: false, connectionStrategy: { maxRetry: 0 } });
  await client.connect(process.argv[2]);
  const session = await client.createSession();
  const box = "ns=2;s=Glovebox", chamber = `${box}.Antechamber`;

  const browsed = await session.browse(box);
  console.log("nodes", browsed.references.map((one) => one.browseName.name).sort().join(" "));
  const oxygen = await session.read({ nodeId: `${box}.Oxygen`, attributeId: opcua.AttributeIds.Value });
  console.log("oxygen", oxygen.statusCode.name, oxygen.value.value > 0);
  const written = await session.write({
    nodeId: `${box}.Oxygen`,
    attributeId: opcua.AttributeIds.Value,
    value: { value: { dataType: opcua.DataType.Double, value: 0 } },
  });
  console.log("write", written.name);

  const subscription = await session.createSubscription2({ requestedPublishingInterval: 50, publishingEnabled: true });
  const item = await subscription.monitor(
    { nodeId: `${chamber}.State`, attributeId: opcua.AttributeIds.Value },
    { samplingInterval: 50, queueSize: 10, discardOldest: true },
    opcua.TimestampsToReturn.Both,
  );
  const states = [];
  const open = new Promise((resolve) => item.on("changed", (value) => {
    states.push(value.value.value);
    if (value.value.value === 1) resolve();
  }));
  const called = await session.call({ objectId: chamber, methodId: `${chamber}.Open`, inputArguments: [] });
  console.log("call", called.statusCode.name);
  await open;
  console.log("states", states.join(" "));

  await subscription.terminate();
  await session.close();
  await client.disconnect();
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
