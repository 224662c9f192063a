# Three instances with an address each, of four: whoever calls them, or is called by them, knows these addresses.
# The fourth is the spare: the group launches before it terminates when it rebalances its zones.
#
# An instance is in service when it has its address (the hook). Before, it has no public address, and reaches the API by
# endpoints. Its subnet has a route to an internet gateway all the same, or nothing would come through the address.

module "pool" {
  source = "../.."

  name                        = "pool"
  size                        = 3
  subnet_ids                  = var.subnet_ids
  image_id                    = var.image_id
  instance_type               = var.instance_type
  security_group_ids          = var.security_group_ids
  associate_public_ip_address = false
  policy                      = "tightest"

  lifecycle_hook = {}

  interface_endpoints = {
    vpc_id             = var.vpc_id
    security_group_ids = var.endpoint_security_group_ids
  }
}

output "public_ips" {
  description = "The addresses to tell others."
  value       = module.pool.public_ips
}
