# What is created by which input. The provider is mocked: no account is needed, and nothing costs anything.

mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = {
      partition          = "aws-cn"
      reverse_dns_prefix = "cn.com.amazonaws"
    }
  }
  mock_data "aws_region" {
    defaults = { region = "cn-north-1" }
  }
  mock_data "aws_service_principal" {
    defaults = { name = "ec2.amazonaws.com" }
  }
  mock_resource "aws_iam_policy" {
    defaults = { arn = "arn:aws-cn:iam::123456789012:policy/mocked" }
  }
  mock_resource "aws_launch_template" {
    defaults = { id = "lt-0123456789abcdef0" }
  }
}

variables {
  name               = "web"
  image_id           = "ami-0123456789abcdef0"
  instance_type      = "t3.nano"
  subnet_ids         = ["subnet-0a", "subnet-0b"]
  security_group_ids = ["sg-0a"]
}

run "the_defaults" {
  assert {
    condition     = length(aws_eip.this) == 1 && aws_eip.this[0].tags["eip-claim"] == "web"
    error_message = "one address is created, and has the tag"
  }
  assert {
    condition = alltrue([for tag in aws_autoscaling_group.this.tag : tag.propagate_at_launch]) && contains(
      [for tag in aws_autoscaling_group.this.tag : "${tag.key}=${tag.value}"], "eip-claim=web"
    )
    error_message = "the group has the tag, and gives it to its instances"
  }
  assert {
    condition     = aws_launch_template.this.user_data == null && output.options == tomap({})
    error_message = "the tag is the whole configuration"
  }
  assert {
    condition = alltrue([
      aws_launch_template.this.metadata_options[0].http_tokens == "required",
      aws_launch_template.this.metadata_options[0].http_put_response_hop_limit == 1,
      aws_launch_template.this.metadata_options[0].instance_metadata_tags == "enabled",
    ])
    error_message = "the metadata needs a token, is for the instance alone, and has the tags"
  }
  assert {
    condition = alltrue([
      aws_autoscaling_group.this.min_size == 1,
      aws_autoscaling_group.this.max_size == 1,
      aws_autoscaling_group.this.desired_capacity == 1,
      aws_autoscaling_group.this.launch_template[0].version == "$Latest",
      aws_autoscaling_group.this.health_check_grace_period == 300,
      aws_autoscaling_group.this.timeouts.delete == "15m",
    ])
    error_message = "the group is one of one"
  }
  assert {
    condition     = length(aws_autoscaling_group.this.initial_lifecycle_hook) + length(aws_vpc_endpoint.this) + length(aws_ec2_tag.this) == 0
    error_message = "there is nothing that was not asked for"
  }
  assert {
    condition     = jsondecode(aws_iam_policy.this.policy) == jsondecode(file("policies/recommended.json"))
    error_message = "the policy is the file"
  }
}

run "names_of_their_own" {
  variables {
    role_name   = "role"
    policy_name = "policy"
    tags        = { team = "edge" }
  }

  assert {
    condition = alltrue([
      aws_iam_role.this.name == "role",
      aws_iam_instance_profile.this.name == "role",
      aws_iam_policy.this.name == "policy",
      aws_launch_template.this.name == "web",
    ])
    error_message = "role, profile and policy have names of their own"
  }
  assert {
    condition = alltrue([for tags in [
      aws_eip.this[0].tags, aws_iam_role.this.tags, aws_iam_policy.this.tags, aws_launch_template.this.tags,
      { for tag in aws_autoscaling_group.this.tag : tag.key => tag.value },
    ] : tags["team"] == "edge" && tags["eip-claim"] == "web"])
    error_message = "everything has the further tags and the one that binds"
  }
}

run "another_tag" {
  variables {
    tag_key   = "asg"
    tag_value = "test"
    policy    = "tightest"
  }

  assert {
    condition     = aws_eip.this[0].tags["asg"] == "test" && output.options["EIP_CLAIM_TAG"] == "asg=test"
    error_message = "the address has the other tag, and the program is told"
  }
  assert {
    condition     = strcontains(base64decode(aws_launch_template.this.user_data), "\nEIP_CLAIM_TAG=asg=test\n")
    error_message = "user data writes the option"
  }
  assert {
    condition = jsondecode(aws_iam_policy.this.policy).Statement[0] == {
      Sid       = "TheTaggedAddress"
      Effect    = "Allow"
      Action    = ["ec2:AssociateAddress", "ec2:DisassociateAddress"]
      Resource  = "arn:aws-cn:ec2:*:*:elastic-ip/*"
      Condition = { StringEquals = { "aws:ResourceTag/asg" = "test" } }
    }
    error_message = "the policy is for the other tag, in this partition"
  }
  assert {
    condition     = !strcontains(aws_iam_policy.this.policy, "arn:aws:") && !strcontains(aws_iam_policy.this.policy, "eip-claim")
    error_message = "nothing of the policy is left as the file has it"
  }
}

run "an_adopted_address" {
  variables {
    allocation_ids = ["eipalloc-0123456789abcdef0"]
  }

  assert {
    condition     = length(aws_eip.this) == 0 && output.allocation_ids == tolist(["eipalloc-0123456789abcdef0"])
    error_message = "no address is created"
  }
  assert {
    condition = alltrue([
      length(aws_ec2_tag.this) == 1,
      aws_ec2_tag.this[0].resource_id == "eipalloc-0123456789abcdef0",
      aws_ec2_tag.this[0].key == "eip-claim",
      aws_ec2_tag.this[0].value == "web",
    ])
    error_message = "the address gets the tag"
  }
}

run "by_allocation_id_with_the_original_policy" {
  variables {
    policy    = "original"
    select_by = "allocation_id"
    options   = { EIP_CLAIM_TAKEOVER = "always" }
  }

  assert {
    condition     = output.options == tomap({ EIP_CLAIM_TAKEOVER = "always", EIP_CLAIM_ALLOCATION_ID = aws_eip.this[0].id })
    error_message = "the program is told the address that is created"
  }
  assert {
    condition     = jsondecode(aws_iam_policy.this.policy) == jsondecode(file("policies/original.json"))
    error_message = "the policy is the original one"
  }
}

run "a_pool_of_three" {
  variables {
    size = 3
  }

  assert {
    condition     = length(aws_eip.this) == 4
    error_message = "there is one address more than instances"
  }
}

run "a_pool_of_twenty_five" {
  variables {
    size = 25
  }

  assert {
    condition     = length(aws_eip.this) == 28
    error_message = "there are 10 % more addresses than instances, rounded up"
  }
}

run "a_pool_that_launches_first" {
  variables {
    size                        = 10
    instance_maintenance_policy = { min_healthy_percentage = 100, max_healthy_percentage = 150 }
  }

  assert {
    condition     = length(aws_eip.this) == 15 && aws_autoscaling_group.this.instance_maintenance_policy[0].max_healthy_percentage == 150
    error_message = "there are as many addresses as the group may have instances"
  }
}

run "a_pool_that_terminates_first" {
  variables {
    size                        = 10
    instance_maintenance_policy = { min_healthy_percentage = 90, max_healthy_percentage = 100 }
  }

  assert {
    condition     = length(aws_eip.this) == 10
    error_message = "there are no spare addresses"
  }
}

run "a_pool_without_spare_addresses_is_warned_of" {
  command = plan

  variables {
    size          = 3
    address_count = 3
  }
  expect_failures = [check.spare_addresses]
}

run "a_launch_hook" {
  variables {
    lifecycle_hook = {}
  }

  assert {
    condition = [for hook in aws_autoscaling_group.this.initial_lifecycle_hook : [
      hook.name, hook.lifecycle_transition, hook.heartbeat_timeout, hook.default_result
    ]] == [["claim", "autoscaling:EC2_INSTANCE_LAUNCHING", 600, "ABANDON"]]
    error_message = "the group has the hook from the beginning"
  }
  assert {
    condition     = output.options == tomap({ EIP_CLAIM_LIFECYCLE_HOOK = "claim" })
    error_message = "the program is told"
  }
  assert {
    condition = toset([for statement in jsondecode(aws_iam_policy.this.policy).Statement : statement.Sid]) == toset(
      ["TakeAndGiveBack", "Look", "Explain", "EndTheWaitForTheHook", "WhichGroup"]
    )
    error_message = "the role may complete the hook, and nothing else of Auto Scaling"
  }
}

run "bad_health" {
  variables {
    unhealthy_on_failure = true
  }

  assert {
    condition     = output.options == tomap({ EIP_CLAIM_UNHEALTHY_ON_FAILURE = "yes" })
    error_message = "the program is told"
  }
  assert {
    condition     = strcontains(aws_iam_policy.this.policy, "autoscaling:SetInstanceHealth")
    error_message = "the role may report it"
  }
  assert {
    condition     = !strcontains(aws_iam_policy.this.policy, "autoscaling:CompleteLifecycleAction")
    error_message = "there is no permission for a hook that does not exist"
  }
}

run "an_interface_of_choice" {
  variables {
    policy  = "tightest"
    options = { EIP_CLAIM_DEVICE_INDEX = "1" }
  }

  assert {
    condition     = strcontains(aws_iam_policy.this.policy, "OntoATaggedInterface")
    error_message = "the role may associate with interfaces that have the tag"
  }
  assert {
    condition = anytrue([
      for tagged in aws_launch_template.this.tag_specifications :
      tagged.resource_type == "network-interface" && tagged.tags["eip-claim"] == "web"
    ])
    error_message = "the interfaces have the tag"
  }
}

run "endpoints" {
  variables {
    interface_endpoints = { vpc_id = "vpc-0a", security_group_ids = ["sg-0b"] }
  }

  assert {
    condition = { for name, endpoint in aws_vpc_endpoint.this : name => endpoint.service_name } == {
      ec2 = "cn.com.amazonaws.cn-north-1.ec2"
      sts = "cn.com.amazonaws.cn-north-1.sts"
    }
    error_message = "there is an endpoint for each service that a claim calls"
  }
  assert {
    condition = alltrue([for endpoint in aws_vpc_endpoint.this : (
      endpoint.private_dns_enabled &&
      endpoint.subnet_ids == toset(var.subnet_ids) &&
      endpoint.security_group_ids == toset(["sg-0b"])
    )])
    error_message = "they answer by the names that the program uses, in every subnet"
  }
}

run "endpoints_with_a_hook" {
  variables {
    lifecycle_hook      = {}
    interface_endpoints = { vpc_id = "vpc-0a", security_group_ids = ["sg-0b"], subnet_ids = ["subnet-0c"] }
  }

  assert {
    condition     = toset(keys(aws_vpc_endpoint.this)) == toset(["autoscaling", "ec2", "sts"])
    error_message = "there is one for Auto Scaling as well"
  }
  assert {
    condition     = alltrue([for endpoint in aws_vpc_endpoint.this : endpoint.subnet_ids == toset(["subnet-0c"])])
    error_message = "they are in the subnets that were named"
  }
}

run "a_package" {
  variables {
    tag_key = "asg"
    package = {
      url    = "https://example.com/a/eip-claim.deb?X-Amz-Expires=60&X-Amz-Signature=0"
      sha256 = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
    }
  }

  assert {
    condition = alltrue([for line in [
      "URL='https://example.com/a/eip-claim.deb?X-Amz-Expires=60&X-Amz-Signature=0'",
      "SHA256=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
      "OPTIONS='EIP_CLAIM_TAG=asg=web'",
    ] : strcontains(base64decode(aws_launch_template.this.user_data), "\n${line}\n")])
    error_message = "user data has the three values"
  }
}

run "user_data_of_ones_own" {
  variables {
    tag_key   = "asg"
    user_data = "#!/bin/sh\n"
  }

  assert {
    condition     = base64decode(aws_launch_template.this.user_data) == "#!/bin/sh\n" && output.options["EIP_CLAIM_TAG"] == "asg=web"
    error_message = "user data is what was given, and the options are told"
  }
}

run "no_user_data" {
  variables {
    tag_key   = "asg"
    user_data = ""
  }

  assert {
    condition     = aws_launch_template.this.user_data == null
    error_message = "there is no user data"
  }
}
