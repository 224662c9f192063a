variable "region" {
  type        = string
  description = "The region of it all."
  default     = "ap-northeast-2"
}

variable "image_id" {
  type        = string
  description = "An AMI with the package of eip-claim."
}

variable "instance_type" {
  type        = string
  description = "The type of the instance."
  default     = "t3.nano"
}

variable "subnet_ids" {
  type        = list(string)
  description = "One subnet in each zone, with a way to the EC2 API."
}

variable "security_group_ids" {
  type        = list(string)
  description = "The security groups of the instance."
}

variable "allocation_ids" {
  type        = list(string)
  description = "The address, if there is one already."
  default     = []
}

variable "policy" {
  type        = string
  description = "The policy of the role: original or tightest."
  default     = "original"
}
