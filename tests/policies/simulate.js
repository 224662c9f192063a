// Asks the simulator, which is installed in the current directory: a list of cases on standard input, what it says of
// each on standard output. A case is a policy, and one action on one resource with what AWS would know of the call.
const { createRequire } = require("node:module");
const { readFileSync } = require("node:fs");
const { runSimulation } = createRequire(process.cwd() + "/")("@cloud-copilot/iam-simulate");

const everything = { Version: "2012-10-17", Statement: [{ Effect: "Allow", Action: "*", Resource: "*" }] };

async function judge({ policies, principal, account, action, resource, context }) {
  const said = await runSimulation(
    {
      request: { principal, action, resource: { resource, accountId: account }, contextVariables: context },
      identityPolicies: policies.map((policy, n) => ({ name: `policy ${n}`, policy })),
      serviceControlPolicies: [{ orgIdentifier: "r-none", policies: [{ name: "all", policy: everything }] }],
      resourceControlPolicies: [],
    },
    {},
  );
  if (said.resultType === "error") return { error: said.errors };
  const results = said.resultType === "single" ? [said.result] : said.results;
  return { verdict: said.overallResult, ignored: results.flatMap((result) => result.ignoredContextKeys ?? []) };
}

(async () => {
  const cases = JSON.parse(readFileSync(0, "utf8"));
  console.log(JSON.stringify(await Promise.all(cases.map(judge))));
})();
