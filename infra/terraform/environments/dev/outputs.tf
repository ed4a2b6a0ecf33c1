output "platform" {
  description = "Names and places of everything: see the outputs of the module platform."
  value       = module.platform
}
