"""What the Django program keeps."""

from django.db import models


class Shelf(models.Model):
    name = models.CharField(max_length=100, unique=True)
    room = models.CharField(max_length=100, default="hall")


class Item(models.Model):
    shelf = models.ForeignKey(Shelf, on_delete=models.CASCADE, related_name="items")
    name = models.CharField(max_length=100)
    count = models.IntegerField(default=0)
    details = models.JSONField(default=dict)
    added = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["name"], name="item_name")]
        constraints = [models.UniqueConstraint(fields=["shelf", "name"], name="item_once_a_shelf")]
