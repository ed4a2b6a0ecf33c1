terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }

  # The rest stands in backend.hcl: terraform init -backend-config=backend.hcl
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region = var.region
  # A second bolt beside the module's own: the provider stops before it asks AWS for anything else.
  allowed_account_ids = [var.account_id]

  default_tags {
    tags = {
      project     = "oedi-spark"
      environment = local.environment
      managed_by  = "terraform"
    }
  }
}
