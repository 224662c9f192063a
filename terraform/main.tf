# An Auto Scaling group whose instances hold the addresses that belong to them, and all that this takes:
# the addresses, the role with its policy and profile, the launch template, and on request a launch hook and endpoints.

data "aws_partition" "current" {}
data "aws_region" "current" {}
data "aws_service_principal" "ec2" {
  service_name = "ec2"
}

locals {
  role_name   = coalesce(var.role_name, var.name)
  policy_name = coalesce(var.policy_name, var.name)
  tag_value   = coalesce(var.tag_value, var.name)
  tags        = merge(var.tags, { (var.tag_key) = local.tag_value })

  # How many more instances than its size the group has while it replaces some; docs/pools.md has the reasons.
  # One address needs no spare: the replacement takes it from its predecessor, which is alive or not.
  max_healthy_percentage = try(var.instance_maintenance_policy.max_healthy_percentage, null)
  launches_first         = var.size > 1 && local.max_healthy_percentage != 100
  excess                 = max(ceil(var.size * 0.1), ceil(var.size * (coalesce(local.max_healthy_percentage, 100) - 100) / 100))
  simultaneous           = local.launches_first ? var.size + local.excess : var.size

  address_count  = length(var.allocation_ids) > 0 ? 0 : coalesce(var.address_count, local.simultaneous)
  allocation_ids = length(var.allocation_ids) > 0 ? var.allocation_ids : aws_eip.this[*].id
}

# The addresses

# Nothing here associates them: that is what the instances do.
resource "aws_eip" "this" {
  # checkov:skip=CKV2_AWS_19:An instance associates the address at boot, which Terraform must not know of.
  count = local.address_count

  public_ipv4_pool = var.public_ipv4_pool
  tags             = merge({ Name = var.name }, local.tags)
}

resource "aws_ec2_tag" "this" {
  count = length(var.allocation_ids)

  resource_id = var.allocation_ids[count.index]
  key         = var.tag_key
  value       = local.tag_value
}

check "spare_addresses" {
  assert {
    condition     = length(local.allocation_ids) >= local.simultaneous
    error_message = "There are ${length(local.allocation_ids)} addresses, and can be ${local.simultaneous} instances while the group replaces some: one of them then waits for an address. Add addresses, or set instance_maintenance_policy to a maximum of 100, so that the group terminates first."
  }
}

# What the instances may do

locals {
  interface_mode = var.interface_mode || length(setintersection(keys(var.options), ["EIP_CLAIM_DEVICE_INDEX", "EIP_CLAIM_PRIVATE_IP"])) > 0

  policies = concat(
    [var.policy],
    # The others allow any interface as it is.
    local.interface_mode && var.policy == "tightest" ? ["interface-mode"] : [],
    var.lifecycle_hook != null ? ["lifecycle-hook"] : [],
    var.unhealthy_on_failure ? ["unhealthy"] : [],
  )

  # The documents are those that a person would paste; these three texts stand in them to be replaced.
  statements = flatten([for policy in local.policies : jsondecode(
    replace(replace(replace(file("${path.module}/policies/${policy}.json"),
      "\"arn:aws:", "\"arn:${data.aws_partition.current.partition}:"),
      "ResourceTag/eip-claim", "ResourceTag/${var.tag_key}"),
    "\"web\"", jsonencode(local.tag_value))
  ).Statement])
}

resource "aws_iam_role" "this" {
  name                 = local.role_name
  permissions_boundary = var.permissions_boundary
  tags                 = local.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = data.aws_service_principal.ec2.name }
    }]
  })
}

resource "aws_iam_policy" "this" {
  name        = local.policy_name
  description = "What eip-claim needs to move the addresses tagged ${var.tag_key}=${local.tag_value}"
  tags        = local.tags

  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = local.statements
  })
}

resource "aws_iam_role_policy_attachment" "this" {
  role       = aws_iam_role.this.name
  policy_arn = aws_iam_policy.this.arn
}

resource "aws_iam_instance_profile" "this" {
  name = local.role_name
  role = aws_iam_role.this.name
  tags = local.tags
}

# What they run

locals {
  selectors = ["EIP_CLAIM_TAG", "EIP_CLAIM_ALLOCATION_ID", "EIP_CLAIM_PUBLIC_IP", "EIP_CLAIM_FILTER"]
  selector = (
    length(setintersection(keys(var.options), local.selectors)) > 0 ? {} :
    var.select_by == "allocation_id" ? { EIP_CLAIM_ALLOCATION_ID = join(",", local.allocation_ids) } :
    # The program's own default, by the tag of the instance.
    var.tag_key == "eip-claim" ? {} :
    { EIP_CLAIM_TAG = "${var.tag_key}=${local.tag_value}" }
  )
  options = tomap(merge(
    local.selector,
    var.lifecycle_hook != null ? { EIP_CLAIM_LIFECYCLE_HOOK = var.lifecycle_hook.name } : {},
    var.unhealthy_on_failure ? { EIP_CLAIM_UNHEALTHY_ON_FAILURE = "yes" } : {},
    var.options,
  ))
  option_lines = join("\n", [for name, value in local.options : "${name}=${value}"])

  # The scripts are those that a person would fill in; these are the lines to be filled in.
  example = "EIP_CLAIM_TAG=eip-claim=web"
  with_package = (
    length(local.options) == 0 ? "" :
    replace(file("${path.module}/../userdata/ami-with-package.sh"), local.example, local.option_lines)
  )
  without_package = var.package == null ? "" : replace(replace(replace(
    file("${path.module}/../userdata/ami-without-package.sh"),
    "/(?m)^URL=.*$/", "URL='${replace(var.package.url, "$", "$$")}'"),
    "/(?m)^SHA256=.*$/", "SHA256=${var.package.sha256}"),
  "OPTIONS='${local.example}'", "OPTIONS='${local.option_lines}'")

  user_data = var.user_data != null ? var.user_data : var.package != null ? local.without_package : local.with_package
}

resource "aws_launch_template" "this" {
  # checkov:skip=CKV_AWS_88:Who gets an Elastic IP address is public; before, it is so only where the caller wants it.
  name                   = var.name
  description            = "Instances that hold an address tagged ${var.tag_key}=${local.tag_value}"
  update_default_version = true
  image_id               = var.image_id
  instance_type          = var.instance_type
  key_name               = var.key_name
  user_data              = local.user_data == "" ? null : base64encode(local.user_data)
  tags                   = local.tags

  iam_instance_profile {
    name = aws_iam_instance_profile.this.name
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
    instance_metadata_tags      = "enabled"
  }

  network_interfaces {
    device_index                = 0
    associate_public_ip_address = var.associate_public_ip_address
    delete_on_termination       = true
    security_groups             = var.security_group_ids
  }

  # The instance has its tags from the group. The interface has them for policies/interface-mode.json.
  dynamic "tag_specifications" {
    for_each = ["network-interface", "volume"]

    content {
      resource_type = tag_specifications.value
      tags          = local.tags
    }
  }
}

resource "aws_autoscaling_group" "this" {
  name                      = var.name
  min_size                  = var.size
  max_size                  = var.size
  desired_capacity          = var.size
  vpc_zone_identifier       = var.subnet_ids
  health_check_type         = "EC2"
  health_check_grace_period = var.health_check_grace_period

  launch_template {
    id      = aws_launch_template.this.id
    version = "$Latest"
  }

  dynamic "instance_maintenance_policy" {
    for_each = var.instance_maintenance_policy[*]

    content {
      min_healthy_percentage = instance_maintenance_policy.value.min_healthy_percentage
      max_healthy_percentage = instance_maintenance_policy.value.max_healthy_percentage
    }
  }

  # In the group itself, since a hook that is added to it afterwards comes too late for the first instance.
  dynamic "initial_lifecycle_hook" {
    for_each = var.lifecycle_hook[*]

    content {
      name                 = initial_lifecycle_hook.value.name
      lifecycle_transition = "autoscaling:EC2_INSTANCE_LAUNCHING"
      heartbeat_timeout    = initial_lifecycle_hook.value.heartbeat_timeout
      default_result       = initial_lifecycle_hook.value.default_result
    }
  }

  # On the group itself as well: its policies/lifecycle-hook.json and unhealthy.json are for groups with the tag.
  dynamic "tag" {
    for_each = merge({ Name = var.name }, local.tags)

    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = true
    }
  }

  timeouts {
    delete = var.delete_timeout
  }

  # The first instance claims as soon as it boots.
  depends_on = [
    aws_ec2_tag.this,
    aws_eip.this,
    aws_iam_role_policy_attachment.this,
    aws_vpc_endpoint.this,
  ]
}

# The way to the API

locals {
  told_auto_scaling = var.lifecycle_hook != null || var.unhealthy_on_failure
  endpoint_services = var.interface_endpoints == null ? [] : concat(["ec2", "sts"], local.told_auto_scaling ? ["autoscaling"] : [])
}

resource "aws_vpc_endpoint" "this" {
  for_each = toset(local.endpoint_services)

  vpc_id              = var.interface_endpoints.vpc_id
  vpc_endpoint_type   = "Interface"
  service_name        = "${data.aws_partition.current.reverse_dns_prefix}.${data.aws_region.current.region}.${each.key}"
  subnet_ids          = coalesce(var.interface_endpoints.subnet_ids, var.subnet_ids)
  security_group_ids  = var.interface_endpoints.security_group_ids
  private_dns_enabled = true
  tags                = merge({ Name = "${var.name}-${each.key}" }, local.tags)
}
