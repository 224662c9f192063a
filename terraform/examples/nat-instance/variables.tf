variable "region" {
  type        = string
  description = "The region of it all."
  default     = "ap-northeast-2"
}

variable "public_subnet_ids" {
  type        = list(string)
  description = "One subnet in each zone, with a route to an internet gateway."
}

variable "private_route_table_ids" {
  type        = list(string)
  description = "The route tables of the subnets that are to leave by the instance. Their default route must not be Terraform's."
}

variable "image_id" {
  type        = string
  description = "An AMI of Debian with the packages that nat.sh names."
}

variable "instance_type" {
  type        = string
  description = "The type of the instance."
  default     = "t3.nano"
}

variable "security_group_ids" {
  type        = list(string)
  description = "The security groups of the instance: they let in what comes from the private subnets."
}
