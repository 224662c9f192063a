# A NAT instance that survives its zone: the private subnets leave by it, and the world sees one address.
#
# Two things are not the launch template's to say, and the instance does them itself, see nat.sh: EC2 drops what it
# forwards until its source/destination check is off, and the private route tables must point to it. (An interface
# of one's own has the check off once and for all, but lives in one zone, so it is no help when that one fails.)

module "nat" {
  source = "../.."

  name                        = "nat"
  subnet_ids                  = var.public_subnet_ids
  image_id                    = var.image_id
  instance_type               = var.instance_type
  security_group_ids          = var.security_group_ids
  associate_public_ip_address = true # its way to the API until it has its own address
  policy                      = "tightest"

  user_data = templatefile("${path.module}/nat.sh", { route_tables = join(" ", var.private_route_table_ids) })
}

data "aws_partition" "current" {}

# Only its own check, by the same condition as in policies/tightest.json, and only the routes of these tables.
resource "aws_iam_role_policy" "nat" {
  name = "nat"
  role = module.nat.role_name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "TurnOffTheCheckOfThisInstance"
        Effect    = "Allow"
        Action    = "ec2:ModifyInstanceAttribute"
        Resource  = "arn:${data.aws_partition.current.partition}:ec2:*:*:instance/*"
        Condition = { ArnLike = { "ec2:SourceInstanceARN" = "arn:${data.aws_partition.current.partition}:ec2:*:*:instance/$${ec2:InstanceID}" } }
      },
      {
        Sid      = "BecomeTheWayOut"
        Effect   = "Allow"
        Action   = ["ec2:CreateRoute", "ec2:ReplaceRoute"]
        Resource = [for id in var.private_route_table_ids : "arn:${data.aws_partition.current.partition}:ec2:*:*:route-table/${id}"]
      },
    ]
  })
}

output "public_ips" {
  description = "The address that the world sees."
  value       = module.nat.public_ips
}
