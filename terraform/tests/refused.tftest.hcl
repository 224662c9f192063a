# What is refused, before anything is created. The message of each says the remedy; variables.tf has them.

mock_provider "aws" {}

variables {
  name               = "web"
  image_id           = "ami-0123456789abcdef0"
  instance_type      = "t3.nano"
  subnet_ids         = ["subnet-0a", "subnet-0b"]
  security_group_ids = ["sg-0a"]
}

run "a_name_with_a_space" {
  command = plan

  variables {
    name = "web server"
  }
  expect_failures = [var.name]
}

run "a_tag_key_that_the_metadata_cannot_have" {
  command = plan

  variables {
    tag_key = "team/role"
  }
  expect_failures = [var.tag_key]
}

run "a_tag_key_of_aws" {
  command = plan

  variables {
    tag_key = "AWS:name"
  }
  expect_failures = [var.tag_key]
}

run "a_tag_value_with_a_quote" {
  command = plan

  variables {
    tag_value = "it's"
  }
  expect_failures = [var.tag_value]
}

run "the_binding_tag_among_the_others" {
  command = plan

  variables {
    tags = { eip-claim = "other" }
  }
  expect_failures = [var.tags]
}

run "an_image_by_its_name" {
  command = plan

  variables {
    image_id = "debian-13"
  }
  expect_failures = [var.image_id]
}

run "no_subnet" {
  command = plan

  variables {
    subnet_ids = []
  }
  expect_failures = [var.subnet_ids]
}

run "a_subnet_twice" {
  command = plan

  variables {
    subnet_ids = ["subnet-0a", "subnet-0a"]
  }
  expect_failures = [var.subnet_ids]
}

run "no_security_group" {
  command = plan

  variables {
    security_group_ids = []
  }
  expect_failures = [var.security_group_ids]
}

run "a_group_of_none" {
  command = plan

  variables {
    size = 0
  }
  expect_failures = [var.size]
}

run "half_an_instance" {
  command = plan

  variables {
    size = 1.5
  }
  expect_failures = [var.size]
}

run "percentages_too_far_apart" {
  command = plan

  variables {
    instance_maintenance_policy = { min_healthy_percentage = 50, max_healthy_percentage = 200 }
  }
  expect_failures = [var.instance_maintenance_policy]
}

run "a_hook_that_ends_before_the_claim" {
  command = plan

  variables {
    lifecycle_hook = { heartbeat_timeout = 300 }
  }
  expect_failures = [var.lifecycle_hook]
}

run "a_hook_that_waits_too_long" {
  command = plan

  variables {
    lifecycle_hook = { heartbeat_timeout = 7201 }
  }
  expect_failures = [var.lifecycle_hook]
}

run "a_hook_with_a_result_of_its_own" {
  command = plan

  variables {
    lifecycle_hook = { default_result = "RETRY" }
  }
  expect_failures = [var.lifecycle_hook]
}

run "an_address_instead_of_its_id" {
  command = plan

  variables {
    allocation_ids = ["203.0.113.7"]
  }
  expect_failures = [var.allocation_ids]
}

run "fewer_adopted_addresses_than_instances" {
  command = plan

  variables {
    size           = 2
    allocation_ids = ["eipalloc-0a"]
  }
  expect_failures = [var.allocation_ids]
}

run "addresses_adopted_and_created" {
  command = plan

  variables {
    allocation_ids = ["eipalloc-0a"]
    address_count  = 1
  }
  expect_failures = [var.address_count]
}

run "fewer_addresses_than_instances" {
  command = plan

  variables {
    size          = 2
    address_count = 1
  }
  expect_failures = [var.address_count]
}

run "a_policy_that_does_not_exist" {
  command = plan

  variables {
    policy = "admin"
  }
  expect_failures = [var.policy]
}

run "the_original_policy_by_tag" {
  command = plan

  variables {
    policy  = "original"
    options = { EIP_CLAIM_TAKEOVER = "always" }
  }
  expect_failures = [var.policy]
}

run "the_original_policy_with_a_look" {
  command = plan

  variables {
    policy    = "original"
    select_by = "allocation_id"
  }
  expect_failures = [var.policy]
}

run "the_original_policy_for_a_pool" {
  command = plan

  variables {
    policy    = "original"
    select_by = "allocation_id"
    size      = 2
    options   = { EIP_CLAIM_TAKEOVER = "always" }
  }
  expect_failures = [var.policy]
}

run "an_unknown_selector" {
  command = plan

  variables {
    select_by = "name"
  }
  expect_failures = [var.select_by]
}

run "an_unknown_option" {
  command = plan

  variables {
    options = { EIP_CLAIM_TAGS = "a=b" }
  }
  expect_failures = [var.options]
}

run "an_option_with_a_line_break" {
  command = plan

  variables {
    options = { EIP_CLAIM_TAG = "a=b\nc=d" }
  }
  expect_failures = [var.options]
}

run "an_option_without_a_value" {
  command = plan

  variables {
    options = { EIP_CLAIM_TAG = "" }
  }
  expect_failures = [var.options]
}

run "a_hook_by_an_option" {
  command = plan

  variables {
    options = { EIP_CLAIM_LIFECYCLE_HOOK = "claim" }
  }
  expect_failures = [var.options]
}

run "a_package_over_http" {
  command = plan

  variables {
    package = { url = "http://example.com/eip-claim.deb", sha256 = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff" }
  }
  expect_failures = [var.package]
}

run "a_package_that_is_none" {
  command = plan

  variables {
    package = { url = "https://example.com/eip-claim.tar", sha256 = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff" }
  }
  expect_failures = [var.package]
}

run "a_package_without_a_sum" {
  command = plan

  variables {
    package = { url = "https://example.com/eip-claim.deb", sha256 = "" }
  }
  expect_failures = [var.package]
}

run "a_package_and_other_user_data" {
  command = plan

  variables {
    user_data = ""
    package   = { url = "https://example.com/eip-claim.deb", sha256 = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff" }
  }
  expect_failures = [var.user_data]
}

run "endpoints_without_a_security_group" {
  command = plan

  variables {
    interface_endpoints = { vpc_id = "vpc-0a", security_group_ids = [] }
  }
  expect_failures = [var.interface_endpoints]
}
