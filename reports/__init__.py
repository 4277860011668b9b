"""What a person looks at: pictures of clouds and terminal tables."""
