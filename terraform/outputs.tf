output "allocation_ids" {
  description = "The addresses: those created, or those given."
  value       = local.allocation_ids
}

output "public_ips" {
  description = "The addresses themselves, of those created."
  value       = aws_eip.this[*].public_ip
}

output "group_name" {
  description = "The Auto Scaling group."
  value       = aws_autoscaling_group.this.name
}

output "launch_template_id" {
  description = "The launch template, which the group uses at `$Latest`."
  value       = aws_launch_template.this.id
}

output "role_name" {
  description = "The role of the instances, for further policies."
  value       = aws_iam_role.this.name
}

output "options" {
  description = "The lines of `/etc/eip-claim.env` that this setup needs, as a map; empty where the defaults do."
  value       = local.options
}
