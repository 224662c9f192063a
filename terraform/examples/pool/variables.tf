variable "region" {
  type        = string
  description = "The region of it all."
  default     = "ap-northeast-2"
}

variable "vpc_id" {
  type        = string
  description = "The VPC of the subnets; it resolves names (enableDnsSupport and enableDnsHostnames)."
}

variable "subnet_ids" {
  type        = list(string)
  description = "One subnet in each zone."
}

variable "image_id" {
  type        = string
  description = "An AMI with the package of eip-claim."
}

variable "instance_type" {
  type        = string
  description = "The type of the instances."
  default     = "t3.nano"
}

variable "security_group_ids" {
  type        = list(string)
  description = "The security groups of the instances."
}

variable "endpoint_security_group_ids" {
  type        = list(string)
  description = "The security groups of the endpoints: they let HTTPS in from the instances."
}
