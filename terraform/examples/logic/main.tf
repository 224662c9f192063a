# The setup from which this project grew, by its own names: a group of one over several subnets, whose instance
# associates the Elastic IP address with itself, and a role that may do that and nothing else.
#
# What the original policy can: associate any address of the account with any instance, whoever has it. That is
# enough for `--takeover=always` with a single allocation id, which takes the address without a look. It survives the
# failure of a zone: the replacement boots elsewhere, and takes the address.
#
# What it cannot: see who has the address (DescribeAddresses, DescribeInstances) or end one association and no other
# (DisassociateAddress). So an instance that was left behind, and reboots when its zone is back, takes the address
# back from the replacement, until Auto Scaling terminates it. And whoever steals the role's credentials can move every
# address of the account.
#
# `policy = "tightest"` mends both: the newest instance keeps the address, and the role moves this one address onto
# the instance that calls. Nothing else changes.

module "logic" {
  source = "../.."

  name        = "logic"
  role_name   = "asg_logic_associate_elasticip"
  policy_name = "associate_elasticip"
  tag_key     = "asg"
  tag_value   = "test"

  size                      = 1
  subnet_ids                = var.subnet_ids
  health_check_grace_period = 300
  delete_timeout            = "15m"

  image_id           = var.image_id
  instance_type      = var.instance_type
  security_group_ids = var.security_group_ids
  allocation_ids     = var.allocation_ids

  policy    = var.policy
  select_by = var.policy == "original" ? "allocation_id" : "tag"
  options   = var.policy == "original" ? { EIP_CLAIM_TAKEOVER = "always" } : {}
}

output "group_name" {
  description = "The Auto Scaling group."
  value       = module.logic.group_name
}

output "allocation_ids" {
  description = "The address."
  value       = module.logic.allocation_ids
}
