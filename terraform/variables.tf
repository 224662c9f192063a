# What it is called

variable "name" {
  type        = string
  description = "Name of the group and the launch template, and of all else that has no name of its own below."
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]{3,64}$", var.name))
    error_message = "name is also that of a launch template and a role: use 3 to 64 letters, digits and _ . -."
  }
}

variable "role_name" {
  type        = string
  description = "Name of the role and of its instance profile; by default `name`."
  default     = null
}

variable "policy_name" {
  type        = string
  description = "Name of the policy; by default `name`."
  default     = null
}

variable "tag_key" {
  type        = string
  description = "Key of the tag by which address and instances belong together. With `eip-claim` the program needs no option."
  default     = "eip-claim"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_.:+@-]{1,128}$", var.tag_key)) && !startswith(lower(var.tag_key), "aws:")
    error_message = "tag_key is read from the instance metadata, which has no spaces and slashes in keys, and written as KEY=VALUE: use letters, digits and _ . : + @ -, not beginning with aws:."
  }
}

variable "tag_value" {
  type        = string
  description = "Value of that tag; by default `name`."
  default     = null

  validation {
    condition     = var.tag_value == null || can(regex("^[A-Za-z0-9 _.:/=+@-]{1,255}$", var.tag_value))
    error_message = "tag_value stands in a policy and in /etc/eip-claim.env: use 1 to 255 letters, digits, spaces and _ . : / = + - @."
  }
}

variable "tags" {
  type        = map(string)
  description = "Further tags for everything that is created, the instances included."
  default     = {}
  nullable    = false

  validation {
    condition     = !contains(keys(var.tags), var.tag_key)
    error_message = "tags has the key of the tag that address and instances share: set its value by tag_value."
  }
}

# The instances

variable "image_id" {
  type        = string
  description = "The AMI: with the package installed, or without it and with `package`."
  nullable    = false

  validation {
    condition     = can(regex("^(ami-|resolve:ssm:)", var.image_id))
    error_message = "image_id is the id of an AMI (ami-…) or a parameter that holds one (resolve:ssm:…)."
  }
}

variable "instance_type" {
  type        = string
  description = "The type of the instances."
  nullable    = false
}

variable "subnet_ids" {
  type        = list(string)
  description = "The subnets of the group, one in each zone that it may use. From each an instance must reach the EC2 API before it has the address."
  nullable    = false

  validation {
    condition     = length(var.subnet_ids) > 0 && length(distinct(var.subnet_ids)) == length(var.subnet_ids)
    error_message = "subnet_ids is empty, or has a subnet twice: name one subnet in each zone that the group may use."
  }
}

variable "security_group_ids" {
  type        = list(string)
  description = "The security groups of the instances. They must let HTTPS out to the EC2 API."
  nullable    = false

  validation {
    condition     = length(var.security_group_ids) > 0
    error_message = "security_group_ids is empty, and the default group of the VPC is nobody's choice: name one."
  }
}

variable "associate_public_ip_address" {
  type        = bool
  description = "Whether an instance gets a public address of EC2's choice until it has its own; by default as its subnet says."
  default     = null
}

variable "key_name" {
  type        = string
  description = "The key pair for SSH, if any."
  default     = null
}

variable "permissions_boundary" {
  type        = string
  description = "ARN of the permissions boundary of the role, where the account demands one."
  default     = null
}

# The group

variable "size" {
  type        = number
  description = "How many instances the group keeps: its minimum, maximum and desired size. More than one is a pool."
  default     = 1
  nullable    = false

  validation {
    condition     = var.size >= 1 && floor(var.size) == var.size
    error_message = "size is a whole number from 1: a group of none has nobody to hold the address."
  }
}

variable "health_check_grace_period" {
  type        = number
  description = "For how many seconds after its launch a report of an instance's bad health is ignored."
  default     = 300
  nullable    = false
}

variable "instance_maintenance_policy" {
  type = object({
    min_healthy_percentage = number
    max_healthy_percentage = number
  })
  description = "In which order the group replaces instances: with a maximum of 100 it terminates first, with more it launches first. It decides how many spare addresses a pool has."
  default     = null

  validation {
    condition = try(
      var.instance_maintenance_policy.min_healthy_percentage <= 100 &&
      var.instance_maintenance_policy.max_healthy_percentage >= 100 &&
      var.instance_maintenance_policy.max_healthy_percentage <= 200 &&
      var.instance_maintenance_policy.max_healthy_percentage - var.instance_maintenance_policy.min_healthy_percentage <= 100,
      true
    )
    error_message = "instance_maintenance_policy has a minimum of 0 to 100 and a maximum of 100 to 200, at most 100 apart: 90 and 100 terminate first, 100 and 110 launch first."
  }
}

variable "delete_timeout" {
  type        = string
  description = "How long to wait for the instances to be gone when the group is deleted."
  default     = "15m"
  nullable    = false
}

variable "lifecycle_hook" {
  type = object({
    name              = optional(string, "claim")
    heartbeat_timeout = optional(number, 600)
    default_result    = optional(string, "ABANDON")
  })
  description = "A launch hook, `{}` for the defaults: an instance is in service when it has the address. Taken up when the group is created, and not changed afterwards."
  default     = null

  validation {
    condition     = try(contains(["ABANDON", "CONTINUE"], var.lifecycle_hook.default_result), true)
    error_message = "lifecycle_hook.default_result is ABANDON, which replaces an instance that nobody speaks for, or CONTINUE, which lets it serve without the address."
  }

  validation {
    condition     = try(var.lifecycle_hook.heartbeat_timeout <= 7200, true)
    error_message = "lifecycle_hook.heartbeat_timeout is more than Auto Scaling allows: at most 7200 seconds."
  }

  validation {
    condition     = try(var.lifecycle_hook.heartbeat_timeout > 310, true) || contains(keys(var.options), "EIP_CLAIM_TIMEOUT")
    error_message = "lifecycle_hook.heartbeat_timeout ends before the claim does, which has 5 minutes and 10 seconds: make it longer than 310, or the claim shorter by the option EIP_CLAIM_TIMEOUT."
  }
}

variable "unhealthy_on_failure" {
  type        = bool
  description = "Whether an instance whose time was up before it had the address is reported as unhealthy, so that the group replaces it."
  default     = false
  nullable    = false
}

# The addresses

variable "allocation_ids" {
  type        = list(string)
  description = "Addresses that are there already: they get the tag, and none is created. `terraform destroy` leaves them to you."
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for id in var.allocation_ids : startswith(id, "eipalloc-")])
    error_message = "allocation_ids are like eipalloc-0123456789abcdef0, not the addresses themselves: `aws ec2 describe-addresses` shows both."
  }

  validation {
    condition     = length(var.allocation_ids) == 0 || length(var.allocation_ids) >= var.size
    error_message = "allocation_ids has fewer addresses than the group has instances: add some, or make size smaller."
  }
}

variable "address_count" {
  type        = number
  description = "How many addresses to create; by default as many as there can be instances at one time while the group replaces some (docs/pools.md)."
  default     = null

  validation {
    condition     = var.address_count == null || length(var.allocation_ids) == 0
    error_message = "address_count and allocation_ids are both set: either create addresses or use those that are there."
  }

  validation {
    condition     = try(var.address_count >= var.size, true)
    error_message = "address_count is less than size: an instance without an address waits until its time is up. Leave it out, and there are enough."
  }
}

variable "public_ipv4_pool" {
  type        = string
  description = "The pool of your own addresses (BYOIP) to create them from; by default Amazon's."
  default     = null
}

# The program

variable "policy" {
  type        = string
  description = "Which of `policies/` the role gets: `recommended` is what every default needs, on all addresses; `tightest` the same on those with the tag, and only onto the instance itself; `original` only `--takeover=always`."
  default     = "recommended"
  nullable    = false

  validation {
    condition     = contains(["original", "recommended", "tightest"], var.policy)
    error_message = "policy is original, recommended or tightest: the files in policies/."
  }

  validation {
    condition = var.policy != "original" || (
      var.select_by == "allocation_id" &&
      lookup(var.options, "EIP_CLAIM_TAKEOVER", "successor") == "always" &&
      var.size == 1
    )
    error_message = "policy original allows no look at addresses and holders, so it can do one thing: set select_by = \"allocation_id\", options = { EIP_CLAIM_TAKEOVER = \"always\" } and size = 1, or take another policy."
  }
}

variable "interface_mode" {
  type        = bool
  description = "Whether the instances have several interfaces: the policy then allows association with an interface that carries the tag. Turned on by the options for device index and private address."
  default     = false
  nullable    = false
}

variable "select_by" {
  type        = string
  description = "How the instances know their address: by the `tag`, or by the `allocation_id` of the addresses here."
  default     = "tag"
  nullable    = false

  validation {
    condition     = contains(["tag", "allocation_id"], var.select_by)
    error_message = "select_by is tag or allocation_id; any other choice is made by options, such as EIP_CLAIM_FILTER."
  }
}

variable "options" {
  type        = map(string)
  description = "Lines of `/etc/eip-claim.env`, as in `systemd/eip-claim.env`. What the other inputs here need is added."
  default     = {}
  nullable    = false

  validation {
    condition = length(setsubtract(
      keys(var.options),
      flatten(regexall("(?m)^#(EIP_CLAIM_[A-Z_]+)=", file("${path.module}/../systemd/eip-claim.env")))
    )) == 0
    error_message = "options has a name that the program does not know: systemd/eip-claim.env has them all."
  }

  validation {
    condition     = alltrue([for value in values(var.options) : can(regex("^[^'\\r\\n]+$", value))])
    error_message = "options has a value that is empty, or has a quote or a line break in it: one line each, several values separated by commas."
  }

  validation {
    condition     = length(setintersection(keys(var.options), ["EIP_CLAIM_LIFECYCLE_HOOK", "EIP_CLAIM_UNHEALTHY_ON_FAILURE"])) == 0
    error_message = "options sets what goes with a hook or a permission: use lifecycle_hook and unhealthy_on_failure, which set the option as well."
  }
}

variable "package" {
  type = object({
    url    = string
    sha256 = string
  })
  description = "The .deb or .rpm that user data fetches, verifies and installs, for an AMI without it. For `s3://…` the role needs permission to read it, and the AMI the AWS CLI."
  default     = null

  validation {
    condition     = var.package == null || can(regex("^(https|s3)://[^'\\s]+\\.(deb|rpm)(\\?[^'\\s]*)?$", var.package.url))
    error_message = "package.url is https://… or s3://… and ends in .deb or .rpm, a signature after a question mark aside."
  }

  validation {
    condition     = var.package == null || can(regex("^[0-9a-f]{64}$", var.package.sha256))
    error_message = "package.sha256 is what sha256sum prints: 64 digits and small letters from a to f."
  }
}

variable "user_data" {
  type        = string
  description = "Your own user data instead of the module's, or `\"\"` for none. It must then see to the lines of the output `options`."
  default     = null

  validation {
    condition     = var.user_data == null || var.package == null
    error_message = "user_data and package are both set: the module installs a package only by its own user data."
  }
}

# The way to the API

variable "interface_endpoints" {
  type = object({
    vpc_id             = string
    security_group_ids = list(string)
    subnet_ids         = optional(list(string))
  })
  description = "VPC endpoints for EC2, STS and, where it is told something, Auto Scaling: for subnets without another way to the API. The security groups must let HTTPS in from the instances. The whole VPC then uses them."
  default     = null

  validation {
    condition     = try(length(var.interface_endpoints.security_group_ids) > 0, true)
    error_message = "interface_endpoints.security_group_ids is empty: name a group that lets HTTPS (443) in from the instances."
  }
}
